"""What a label map holds, from one pass over it: voxels of each class in each slice along each axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...core.inference.windows import slabs, whole


class Labels(Protocol):
    """A label map that is read window by window, such as a `Spool`.

    Attributes:
        shape: (1, D, H, W).
    """

    shape: tuple[int, ...]

    def read(self, window: tuple[slice, ...]) -> np.ndarray:
        """Return the labels of a window, (1, d, h, w)."""
        ...


@dataclass(frozen=True, eq=False)
class Profiles:
    """Voxels of each class in each slice.

    Attributes:
        along: for each of the axes (D, H, W), int64 (classes, slices).
    """

    along: tuple[np.ndarray, np.ndarray, np.ndarray]

    def voxels(self, value: int) -> int:
        """Return how many voxels a class has."""
        return int(self.along[0][value].sum())

    def centroid(self, value: int) -> tuple[float, float, float] | None:
        """Return the mean index of a class's voxels along (D, H, W); None where it has none."""
        count = self.voxels(value)
        if not count:
            return None
        depth, height, width = (float(each[value] @ np.arange(each.shape[1])) / count for each in self.along)
        return depth, height, width

    def box(self, value: int) -> tuple[slice, slice, slice] | None:
        """Return the smallest window that holds a class; None where it has no voxel."""
        if not self.voxels(value):
            return None
        places = [np.flatnonzero(each[value]) for each in self.along]
        depth, height, width = (slice(int(each[0]), int(each[-1]) + 1) for each in places)
        return depth, height, width

    def slices(self, value: int) -> np.ndarray:
        """Return the numbers of the slices along D that a class touches."""
        return np.flatnonzero(self.along[0][value])

    def busiest(self) -> tuple[int, int, int]:
        """Return, for each axis, the slice that holds most of all classes; the middle where there is none."""
        counts = [each[1:].sum(axis=0) for each in self.along]
        if not counts[0].any():
            counts = [np.arange(len(each)) == len(each) // 2 for each in counts]
        depth, height, width = (int(each.argmax()) for each in counts)
        return depth, height, width


def profiles(labels: Labels, classes: int) -> Profiles:
    """Count the voxels of each class in each slice.

    Args:
        labels: values 0..classes - 1.
        classes: how many there are, the background included.
    """
    along = tuple(np.zeros((classes, size), np.int64) for size in labels.shape[1:])
    for window in slabs(whole(labels.shape[1:])):
        for number, plane in enumerate(labels.read(window)[0], start=window[0].start):
            _count(plane, number, along)
    return Profiles(along)


def _count(plane: np.ndarray, number: int, along: tuple[np.ndarray, ...]) -> None:
    """Add a slice, (H, W), to the counts; what is empty around its objects is not looked at again."""
    classes = len(along[0])
    used = plane > 0
    rows, columns = (np.flatnonzero(used.any(axis=axis)) for axis in (1, 0))
    along[0][0, number] += plane.size
    along[1][0] += plane.shape[1]
    along[2][0] += plane.shape[0]
    if not len(rows):
        return
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    part = plane[window].astype(np.int32)
    height, width = part.shape
    by_row = np.bincount((part + classes * np.arange(height)[:, None]).ravel(), minlength=classes * height)
    by_column = np.bincount((part + classes * np.arange(width)).ravel(), minlength=classes * width)
    found = by_row.reshape(height, classes).T
    for counts, place, each in (
        (along[0], slice(number, number + 1), found.sum(axis=1, keepdims=True)),
        (along[1], window[0], found),
        (along[2], window[1], by_column.reshape(width, classes).T),
    ):
        counts[1:, place] += each[1:]
        counts[0, place] -= each[1:].sum(axis=0)
