"""What the values of a stored mask mean: class numbers, or how much of a pixel is the object.

Stored masks are whole numbers (S, h, w): slices, rows, columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import UserError

LOSSY = (".jpg", ".jpeg")
LOSS = 8  # by how much JPEG parts the channels of a grey picture
HALF = 128  # of 255; from here up a pixel of a mask of two classes is the object
MARGIN = 16  # how far from both ends a grey is none of them
FLAT = 0.01  # share of the object's pixels in flat areas of other greys, above which these are no soft edges
LISTED = 8


@dataclass(frozen=True)
class MaskCode:
    """How classes are written in masks.

    Attributes:
        classes: number of classes, background included.
        values: grey value of each class; None for class numbers, of which two classes may also be written as 0 and
            anything from 128 up.
        is_soft: keep the greys between, as shares of the object; for two classes.
    """

    classes: int
    values: tuple[int, ...] | None = None
    is_soft: bool = False

    def __post_init__(self) -> None:
        if self.values is not None and (len(self.values) != self.classes or len(set(self.values)) != self.classes):
            raise UserError(
                f"the grey values {_listed(self.values)} of a data set's masks are not one for each of the network's "
                f"{self.classes} classes; correct `values` or the network."
            )
        if self.is_soft and self.classes != 2:
            raise UserError(f"data.soft is for two classes; the network has {self.classes}. Leave it out.")


def one_channel(picture: np.ndarray, path: Path) -> np.ndarray:
    """Return the only channel (h, w) of a picture (C, h, w); one of three where all are the same.

    Raises:
        UserError: the picture has colours.
    """
    first, *others = picture.astype(np.int32)
    allowed = LOSS if path.suffix.lower() in LOSSY else 0
    if any(np.abs(first - other).max() > allowed for other in others):
        raise UserError(
            f"{path}: is a colour picture; a mask holds the number of the class of each pixel in one channel. "
            "Convert the colours to numbers, or save it with a palette."
        )
    return picture[0]


def whole_numbers(values: np.ndarray, path: Path) -> np.ndarray:
    """Return values as int32.

    Raises:
        UserError: they are no whole numbers from 0.
    """
    if not (np.isfinite(values).all() and values.min() >= 0 and (values == np.round(values)).all()):
        odd = values[~np.isfinite(values) | (values < 0) | (values != np.round(values))][0]
        raise UserError(f"{path}: holds values such as {odd:g}; a mask holds whole numbers from 0.")
    return values.astype(np.int32)


def class_numbers(mask: np.ndarray, code: MaskCode, path: Path) -> np.ndarray:
    """Return the class of each pixel, uint8, or uint16 for more than 256 classes.

    Args:
        mask: stored values, whole numbers.
        code: what they mean.
        path: the file, named in errors.

    Raises:
        UserError: a value means none of the classes.
    """
    if code.values is not None:
        numbers = _by_value(mask, code.values, path)
    elif code.classes == 2 and mask.max() >= code.classes:
        numbers = _by_half(mask, code, path)
    elif mask.max() >= code.classes:
        raise UserError(
            f"{path}: holds the values {_found(mask)}; the network's classes are 0..{code.classes - 1}. Give `values`, "
            "the grey value of each class, or a network of as many classes."
        )
    else:
        numbers = mask
    return numbers.astype(np.uint8 if code.classes <= 256 else np.uint16)


def object_shares(mask: np.ndarray, code: MaskCode, path: Path) -> np.ndarray:
    """Return how much of each pixel is the object, float32 in 0..1, of a mask of two classes.

    Args:
        mask: stored values, whole numbers; those of JPEG and of up to 255 are shares of 255.
        code: what they mean; with given grey values nothing lies between.
        path: the file, named in errors.
    """
    highest = int(mask.max())
    if code.values is not None or highest <= 1:
        return class_numbers(mask, code, path).astype(np.float32)
    return mask.astype(np.float32) / (255 if highest <= 255 else 65535)


def _by_value(mask: np.ndarray, values: Sequence[int], path: Path) -> np.ndarray:
    found, places = np.unique(mask, return_inverse=True)
    distances = np.abs(found.astype(np.int64)[:, None] - np.array(values))
    numbers = distances.argmin(axis=1)
    if path.suffix.lower() not in LOSSY and (strange := found[distances.min(axis=1) > 0]).size:
        raise UserError(
            f"{path}: holds the value {strange[0]}, which is of no class; those of the classes are {_listed(values)}. "
            "Correct `values` or the mask."
        )
    return numbers[places].reshape(mask.shape)


def _by_half(mask: np.ndarray, code: MaskCode, path: Path) -> np.ndarray:
    is_lossy = path.suffix.lower() in LOSSY
    if mask.max() < HALF and not is_lossy:
        raise UserError(
            f"{path}: holds the values {_found(mask)}; two classes are 0 and 1, or 0 and 255. Give `values`, the grey "
            "value of each class, or a network of as many classes."
        )
    if not (code.is_soft or is_lossy) and (greys := _flat_greys(mask)):
        raise UserError(
            f"{path}: holds areas of the values {_listed(greys)} between 0 and {mask.max()}, but the network has two "
            "classes. Give `values`, the grey value of each class, and a network of as many classes."
        )
    return mask >= HALF


def _flat_greys(mask: np.ndarray) -> list[int]:
    """Return the greys between both ends of which there are areas, not edges alone."""
    inner = mask[:, 1:-1, 1:-1]
    is_between = (inner > MARGIN) & (inner < int(mask.max()) - MARGIN)
    if not is_between.any():
        return []
    around = (mask[:, :-2, 1:-1], mask[:, 2:, 1:-1], mask[:, 1:-1, :-2], mask[:, 1:-1, 2:])
    is_flat = is_between & np.logical_and.reduce([inner == each for each in around])
    if is_flat.sum() <= FLAT * np.count_nonzero(mask):
        return []
    return np.unique(inner[is_flat]).tolist()


def _found(mask: np.ndarray) -> str:
    return _listed(np.unique(mask).tolist())


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:LISTED])) + (", ..." if len(values) > LISTED else "")
