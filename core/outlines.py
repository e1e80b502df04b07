"""Drawing the outlines of labels onto a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .weights.label import Label

SIDE_PER_WIDTH = 300  # pixels of a picture's shorter side for each pixel of an outline


def outlined(image: np.ndarray, labels: np.ndarray, classes: Sequence[Label]) -> np.ndarray:
    """Return a picture with the outline of each label in its colour, drawn inside the label.

    Args:
        image: uint8 (H, W, 3); it stays as it is.
        labels: class numbers (H, W).
        classes: the labels that are drawn.
    """
    from skimage.morphology import erosion

    picture = image.copy()
    width = 1 + min(labels.shape) // SIDE_PER_WIDTH
    for each in classes:
        region = labels == each.value
        inside = np.pad(region, width, mode="edge")
        for _ in range(width):
            inside = erosion(inside)
        picture[region & ~inside[width:-width, width:-width]] = each.colour
    return picture
