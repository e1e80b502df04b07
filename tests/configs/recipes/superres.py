"""Photographs at two resolutions, and small networks that enlarge them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from foveal.core.cli import main
from foveal.data.io.image import read_image
from foveal.tests.fixtures.photographs import picture, write_datasets
from foveal.tests.fixtures.small_runs import as_options

TOLERANCE = 1  # of 255


def write(content: dict[str, Any]) -> Path:
    """Write what a config reads; return a picture to enlarge."""
    write_datasets(content, scale(content))
    return picture(Path("in.png"), (27, 33))


def small(content: dict[str, Any]) -> list[str]:
    """Return the options that make the network shallow and a step short."""
    net = {"net.init_args": {"groups": 1, "pairs": 2}}  # a pair for each of two local mixers
    return as_options({"model.init_args": net, "data.init_args": {"batch_size": 2, "patch": 16, "workers": 0}})


def use(content: dict[str, Any], weights: Path, source: Path, output: Path) -> np.ndarray:
    """Return the picture that a network enlarges."""
    output = output.with_suffix(".png")
    options = ["--input", str(source), "--output", str(output), "--device", "cpu", "--quiet"]
    assert main(["superres", "infer", "--weights", str(weights), *options]) == 0
    found = read_image(output)
    assert found.shape == (3, 27 * scale(content), 33 * scale(content))
    return found


def scale(content: dict[str, Any]) -> int:
    """Return how many times larger a config's network makes pictures."""
    return content["model"]["init_args"]["net"].get("init_args", {}).get("scale", 4)
