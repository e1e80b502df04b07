"""Three planes through a volume as pictures: axial, coronal and sagittal, as radiologists look at them.

Volumes are (D, H, W). In the pictures the head or the front is above, and the patient's right is on the left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .outlines import outlined
from .weights.card import AXES
from .weights.label import Label

SHOWN = "IPL"  # the axes of what is cut: towards the feet, the back and the left
SIDE = 240  # pixels of the longest side of the body that is shown
GAP = 4  # pixels between two planes
FILLED = 0.7  # of a sheet, which one row of planes is not where one of them is far lower than the others


def busiest(labels: np.ndarray) -> tuple[int, ...]:
    """Return, for each axis, the slice that holds most voxels other than background; the middle where there are none.

    Args:
        labels: class numbers (D, H, W).
    """
    is_object = labels > 0
    if not is_object.any():
        return tuple(size // 2 for size in labels.shape)
    counts = (is_object.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3))
    return tuple(int(each.argmax()) for each in counts)


def upright(volume: np.ndarray, orientation: str) -> np.ndarray:
    """Return a view of a volume whose indices grow towards the feet, the back and the left.

    Args:
        volume: (D, H, W).
        orientation: where the indices of each axis grow to, such as "SPL".
    """
    axes = shown_axes(orientation)
    mirrored = [number for number, axis in enumerate(axes) if orientation[axis] not in SHOWN]
    return np.flip(volume.transpose(axes), mirrored)


def shown_axes(orientation: str) -> list[int]:
    """Return which axis of a volume runs between head and feet, front and back, right and left."""
    return [_axis(orientation, letter) for letter in SHOWN]


def sheet(
    image: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[Label],
    place: Sequence[int],
    orientation: str,
    spacing: Sequence[float],
    side: int = SIDE,
) -> np.ndarray:
    """Return the three planes on one sheet with the outlines of labels, uint8 (rows, columns, 3).

    They stand side by side or, of a volume of a few slices, so that little of the sheet stays black.

    Args:
        image: values (D, H, W); shown from their 1st to their 99th percentile in these planes.
        labels: class numbers (D, H, W).
        classes: the labels that are drawn.
        place: the slice that is shown of each axis.
        orientation: where the indices of each axis grow to, such as "SPL".
        spacing: millimetres between voxels along each axis.
        side: pixels of the longest axis.
    """
    greys, maps = (planes(each, place, orientation, spacing, side) for each in (image, labels))
    low, high = np.percentile(np.concatenate([each.ravel() for each in greys]), [1, 99])
    pictures = []
    for grey, each in zip(greys, maps, strict=True):
        unit = np.clip((grey.astype(np.float32) - low) / max(high - low, 1e-8), 0, 1)
        picture = np.repeat((255 * unit).astype(np.uint8)[..., None], 3, axis=-1)
        pictures.append(outlined(picture, each, classes))
    return _arranged(pictures)


def planes(
    volume: np.ndarray, place: Sequence[int], orientation: str, spacing: Sequence[float], side: int = SIDE
) -> list[np.ndarray]:
    """Return the axial, the coronal and the sagittal plane through a place, with square pixels of one size.

    Args:
        volume: values or labels (D, H, W).
        place: the slice that is shown of each axis.
        orientation: where the indices of each axis grow to, such as "SPL".
        spacing: millimetres between voxels along each axis.
        side: pixels of the longest axis; samples are repeated or left out, not mixed.
    """
    pixel = max(size * step for size, step in zip(volume.shape, spacing, strict=True)) / side
    axes = shown_axes(orientation)
    found = []
    for shown, axis in enumerate(axes):
        rows, columns = (each for number, each in enumerate(axes) if number != shown)
        plane = volume[tuple(place[axis] if each == axis else slice(None) for each in range(3))]
        if rows > columns:
            plane = plane.T
        for number, each in enumerate((rows, columns)):
            plane = np.flip(plane, number) if orientation[each] not in SHOWN else plane
            centres = (np.arange(max(1, round(volume.shape[each] * spacing[each] / pixel))) + 0.5) * pixel
            samples = (centres / spacing[each]).astype(np.int64).clip(0, volume.shape[each] - 1)
            plane = plane.take(samples, axis=number)
        found.append(plane)
    return found


def _axis(orientation: str, letter: str) -> int:
    """Return the axis that runs in the direction of a letter, or against it."""
    pair = next(each for each in AXES if letter in each)
    return next(axis for axis, each in enumerate(orientation) if each in pair)


def _arranged(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return three pictures in one row, in two columns or in one: the first of these that is filled."""
    first, second, third = pictures
    sheets = (
        _joined(pictures, 1),
        _joined([first, _joined([second, third], 0)], 1),
        _joined([_joined([first, second], 0), third], 1),
        _joined(pictures, 0),
    )
    needed = sum(each.size for each in pictures)
    fullest = min(sheets, key=lambda each: each.size)
    return next((each for each in sheets if needed > FILLED * each.size), fullest)


def _joined(pictures: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Return pictures one after the other along an axis, black where one is smaller than another across it."""
    across = max(each.shape[1 - axis] for each in pictures)
    parts = []
    for number, each in enumerate(pictures):
        room = {axis: GAP * (number + 1 < len(pictures)), 1 - axis: across - each.shape[1 - axis], 2: 0}
        parts.append(np.pad(each, [(0, room[side]) for side in range(3)]))
    return np.concatenate(parts, axis=axis)
