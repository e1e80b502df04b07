"""How labels, probabilities and other values of a program are stored as samples of an image."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ....core.errors import UserError
from ....core.weights.card import Card
from ..formats import TIFF_SUFFIXES

Range = tuple[float, float]
EIGHT_BITS = (".jpg", ".jpeg", ".bmp")
LOSSY = (".jpg", ".jpeg")


class Samples(NamedTuple):
    """How values are stored: the first of the range as 0, the last as the highest number of the type.

    Attributes:
        channels: of the image.
        dtype: uint8 or uint16.
        value_range: of the values; that of labels leaves them as they are.
    """

    channels: int
    dtype: np.dtype
    value_range: Range


def samples_of(path: Path, card: Card) -> Samples | None:
    """Return how the outputs of a card are stored; None for pictures of the kind that the program takes.

    Labels keep their numbers, in 8 bits, or 16 above 255. Probabilities are 255 p. Other values are stretched from the
    card's value range to 16 bits, or to 8 where the format has no more.

    Args:
        path: the file to be written.
        card: of the program.

    Raises:
        UserError: the file loses some of each value, which labels do not bear.
    """
    suffix, names = path.suffix.lower(), card.outputs or card.channels
    if card.makes_labels:
        if suffix in LOSSY:
            raise UserError(f"{path}: JPEG would change the numbers of classes; end the name in .png or .tif.")
        highest = max([1, len(names) - 1, *(label.value for label in card.labels)])
        dtype = np.dtype(np.uint8 if highest <= np.iinfo(np.uint8).max else np.uint16)
        return Samples(1 if card.activation == "argmax" else len(names), dtype, (0.0, float(np.iinfo(dtype).max)))
    if card.activation != "none":
        return Samples(len(names), np.dtype(np.uint8), (0.0, 1.0))
    if set(names) <= {*card.channels}:
        return None
    return Samples(len(names), np.dtype(np.uint8 if suffix in EIGHT_BITS else np.uint16), card.value_range)


def image_suffix(suffix: str, card: Card) -> str:
    """Return a suffix of images in which a card's outputs keep their values: that of the input where it does."""
    samples = samples_of(Path("image.png"), card)
    if samples is None:
        return suffix
    if samples.channels not in (1, 3):
        return suffix if suffix.lower() in TIFF_SUFFIXES else TIFF_SUFFIXES[0]
    return ".png" if suffix.lower() in LOSSY else suffix


def quantised(values: np.ndarray, value_range: Range, dtype: np.dtype) -> np.ndarray:
    """Return values as samples of an integer type, its full range being the value range; beyond it they are cut off."""
    low, high = value_range
    highest = np.iinfo(dtype).max
    samples = (values - low) * np.float32(highest / (high - low))
    return samples.clip(0, highest, out=samples).round(out=samples).astype(dtype)
