"""Colonoscopy frames with masks, and small networks that segment them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foveal.core.cli import main
from foveal.tests.fixtures.datasets_2d import write_datasets as write
from foveal.tests.fixtures.small_runs import small

__all__ = ["TOLERANCE", "small", "use", "write"]
TOLERANCE = 0  # of the numbers of classes


def use(content: dict[str, Any], weights: Path, source: Path, output: Path) -> np.ndarray:
    """Return the mask that a network finds, beside which it draws its outlines."""
    look, output = output.with_name(f"{output.name}-look"), output.with_suffix(".png")
    options = ["--input", str(source), "--output", str(output), "--device", "cpu", "--quiet", "--overlay", str(look)]
    assert main(["polyp", "infer", "--weights", str(weights), *options]) == 0
    mask = np.asarray(Image.open(output))
    assert mask.shape == np.asarray(Image.open(source)).shape[:2]
    assert set(np.unique(mask)) <= {0, 1}
    assert list(look.iterdir())
    return mask
