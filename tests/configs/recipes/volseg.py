"""Labelled volumes in every layout, and small networks that segment them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from foveal.core.cli import main
from foveal.core.weights.load import load_program
from foveal.tests.fixtures.datasets_3d import Files
from foveal.tests.fixtures.datasets_3d import write_datasets as write
from foveal.tests.fixtures.small_runs import as_options, network

__all__ = ["TOLERANCE", "small", "use", "write"]
LIGHT: dict[str, dict[str, Any]] = {
    "DFormer": {
        "dim": 4,
        "depths": [1, 1],
        "heads": [1, 1],
        "patch": [2, 2, 2],
        "group": [2, 2, 2],
        "intervals": [2, 1],
        "supervised": 1,
    },
    "MPUNet": {"dim": 2},
    "DynUNet": {"dim": 2, "patch": [16, 16, 16]},
    "SwinUNETR": {"dim": 12, "depths": [1, 1, 1, 1], "heads": [1, 1, 1, 1], "window": 2},
}
"""Arguments that make each network light."""
PATCH = {"SwinUNETR": [32, 64, 32]}
TOLERANCE = 0  # of the numbers of classes


def small(content: dict[str, Any]) -> list[str]:
    """Return the options that make the network light and a step short."""
    kind = network(content)
    data = {"patch_size": PATCH.get(kind, [16, 16, 16]), "context": [2, 2, 2], "patches_per_epoch": 4, "workers": 0}
    return as_options({"model.init_args.net.init_args": LIGHT[kind], "data.init_args": data})


def use(content: dict[str, Any], weights: Path, source: Files, output: Path) -> np.ndarray:
    """Return the labels that a network finds in the case that was tested first; they are those that were scored."""
    output = output.with_suffix(".nii.gz")
    case = next(csv.DictReader(weights.with_name("cases_test.csv").open()))
    image, label = source[case["name"]]
    options = ["--input", str(image), "--output", str(output), "--device", "cpu", "--quiet"]
    tta = ["--tta"] if content["model"]["init_args"].get("tta") else []
    assert main(["volseg", "infer", "--weights", str(weights), *options, *tta]) == 0
    found, truth = nibabel.load(output), nibabel.load(label)
    assert np.allclose(found.affine, truth.affine)
    labels = np.asarray(found.dataobj)
    relabel = content["data"]["init_args"].get("relabel") or {}
    expected = overlaps(labels, np.asarray(truth.dataobj), relabel)
    scored = {name: float(value) for name, value in case.items() if name.startswith("dice")}
    assert scored["dice"] == pytest.approx(np.mean([expected[each] for each in numbers(scored, weights)]), abs=1e-6)
    return labels


def overlaps(found: np.ndarray, truth: np.ndarray, relabel: dict[int, int]) -> dict[int, float]:
    """Return the Dice of each class."""
    for old, new in relabel.items():
        truth = np.where(truth == old, new, truth)
    classes = range(1, int(truth.max()) + 1)
    return {k: 2 * np.sum((found == k) & (truth == k)) / (np.sum(found == k) + np.sum(truth == k)) for k in classes}


def numbers(scored: dict[str, float], weights: Path) -> list[int]:
    """Return the numbers of the classes that are scored."""
    names = [each.removeprefix("dice_") for each in scored if each != "dice"]
    return [each.value for each in load_program(weights).card.labels if each.name in names or not names]
