"""Photographs with and without a display before the camera, and small networks that restore or degrade them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from foveal.core.cli import main
from foveal.core.weights.load import load_model
from foveal.data.io.image import read_image
from foveal.tests.fixtures.photographs import picture, write_datasets
from foveal.tests.fixtures.small_runs import as_options, network

LIGHT = {
    "DWFormer": {"widths": [4, 8, 12, 8, 4], "depths": [1, 1, 1, 1, 1]},
    "UNet": {"widths": [4, 4, 4, 4, 4, 4]},
    "MPGNet": {"width": 4},
}
TOLERANCE = 1  # of 255


def write(content: dict[str, Any]) -> Path:
    """Write what a config reads; return a picture to restore or to degrade."""
    write_datasets(content)
    return picture(Path("in.png"), (37, 41))


def small(content: dict[str, Any]) -> list[str]:
    """Return the options that make the network light and a step short."""
    model: dict[str, Any] = {"net.init_args": LIGHT[network(content)], "tile": 64}
    model |= {"discriminator_dim": 4} if simulates(content) else {"overlap": 16}
    return as_options(
        {
            "model.init_args": model,
            "data.init_args": {"batch_size": 2, "patch": 32, "workers": 0},
            "trainer": {"precision": "32-true"},
        }
    )


def use(content: dict[str, Any], weights: Path, source: Path, output: Path) -> np.ndarray:
    """Return the picture that a network restores or degrades."""
    output = output.with_suffix(".png")
    options = ["--input", str(source), "--output", str(output), "--device", "cpu", "--quiet"]
    if simulates(content):
        assert main(["udc", "simulate", "--model", str(weights), *options]) == 0
        assert load_model(weights).display == content["model"]["init_args"]["net"]["init_args"]["display"]
    else:
        assert main(["udc", "infer", "--weights", str(weights), *options]) == 0
    found = read_image(output)
    assert found.shape == (3, 37, 41)
    return found


def simulates(content: dict[str, Any]) -> bool:
    """Whether a config trains a simulator of displays."""
    return network(content) == "MPGNet"
