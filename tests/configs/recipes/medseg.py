"""Images, slices and X-rays with masks or classes, and small networks for them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from foveal.core.cli import main
from foveal.tests.fixtures.datasets_2d import write_datasets as write
from foveal.tests.fixtures.small_runs import small

__all__ = ["TOLERANCE", "small", "use", "write"]
TOLERANCE = 1e-4  # of a probability; numbers of classes are the same


def use(content: dict[str, Any], weights: Path, source: Path, output: Path) -> np.ndarray:
    """Return the probabilities of classes, or the mask that a network finds."""
    classifies = "Classification" in content["model"]["class_path"]
    output = output.with_name(output.name + (".csv" if classifies else "".join(source.suffixes)))
    options = ["--input", str(source), "--output", str(output), "--device", "cpu", "--quiet"]
    assert main(["medseg", "infer", "--weights", str(weights), *options]) == 0
    return probabilities(output, source) if classifies else mask(content, output, source)


def probabilities(table: Path, image: Path) -> np.ndarray:
    """Return the probabilities in a table of one image."""
    (row,) = csv.DictReader(table.open())
    chances = {name.removeprefix("probability_"): float(each) for name, each in row.items() if "probability" in name}
    assert row["input"] == str(image)
    assert not row["error"]
    assert sum(chances.values()) == pytest.approx(1, abs=1e-4)
    assert row["predicted"] == max(chances, key=chances.get)
    return np.array(list(chances.values()))


def mask(content: dict[str, Any], output: Path, image: Path) -> np.ndarray:
    """Return a mask, which lies where its image does and has numbers of classes alone."""
    if image.suffix == ".png":
        found, given = (np.asarray(Image.open(each)) for each in (output, image))
        assert found.shape == given.shape[:2]
    else:
        files = nibabel.load(output), nibabel.load(image)
        assert np.allclose(*(each.affine for each in files))
        found, given = (np.asarray(each.dataobj) for each in files)
        assert found.shape == given.shape
    assert set(np.unique(found)) <= set(
        range(content["model"]["init_args"]["net"].get("init_args", {}).get("num_classes", 5))
    )
    return found
