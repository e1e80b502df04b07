"""Places on several dates in every layout, and small networks that clear them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from foveal.core.cli import main
from foveal.tests.fixtures.dated import write_place
from foveal.tests.fixtures.scene_layouts import write_datasets
from foveal.tests.fixtures.small_runs import as_options, network

LIGHT = {"PMAA": {"dim": 2}, "DateUNet": {"widths": [4, 4, 4, 4, 4, 4]}}
TOLERANCE = 5  # of 10,000: other run times sum in another order


def write(content: dict[str, Any]) -> Path:
    """Write what a config reads; return a place to clear."""
    write_datasets(content)
    return write_place(Path("place"))


def small(content: dict[str, Any]) -> list[str]:
    """Return the options that make the networks light and a step short."""
    given = content["model"]["init_args"]
    model: dict[str, Any] = {"net.init_args": LIGHT[network(content)], "tile": 64, "overlap": 8}
    if given.get("discriminator_widths", True):
        model["discriminator_widths"] = [2, 2]
    if given.get("teacher"):
        model["teacher"] = None  # a file of the authors
    return as_options({"model.init_args": model, "data.init_args": {"batch_size": 2, "patch": 32, "workers": 0}})


def use(content: dict[str, Any], weights: Path, source: Path, output: Path) -> np.ndarray | None:
    """Return the image that a network makes of a place; pictures hold no reflectance, as GeoTIFFs do."""
    assert "least_cloudy_psnr_b_cloudy" in weights.with_name("cases_test.csv").read_text()
    if content["model"]["init_args"]["net"].get("init_args", {}).get("num_outputs", 4) < 4:
        return None
    output = output.with_suffix(".tif")
    options = ["--input", str(source), "--output", str(output), "--device", "cpu", "--quiet"]
    assert main(["cloudremoval", "infer", "--weights", str(weights), *options]) == 0
    with rasterio.open(output) as file:
        assert (file.count, file.height, file.width) == (4, 50, 61)
        return file.read().astype(int)
