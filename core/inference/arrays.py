"""Arrays in memory as what the engine reads from and writes to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .streams import Carry, Geometry, Window


class ArraySource:
    """An array in memory as a source.

    Args:
        array: float32 (C, *spatial), or (dates, C, H, W).
        spatial: how many of its axes are spatial; None for all but the first.
    """

    geometry = None

    def __init__(self, array: np.ndarray, spatial: int | None = None) -> None:
        self.array = array
        self.shape = array.shape
        self.spatial = array.ndim - 1 if spatial is None else spatial

    def read(self, window: Window) -> np.ndarray:
        """Return a window of the array."""
        return self.array[..., *window]

    def is_empty(self, window: Window) -> bool:
        """Return False: an array marks nothing as absent."""
        return False


class ArraySink:
    """An array in memory as a sink.

    Args:
        extent: of the output's spatial axes.
        geometry: where its samples lie; None where that is not known.

    Attributes:
        array: (C', *extent); None before anything is written.
    """

    rows_done = 0
    carry: Carry = {}  # noqa: RUF012 (never changed)

    def __init__(self, extent: Sequence[int], geometry: Geometry | None = None) -> None:
        self.extent = extent
        self.geometry = geometry
        self.array: np.ndarray | None = None  # made with the first window, which tells the number of channels

    def aside(self, window: Window) -> None:
        """Return nothing: nothing comes from the source."""

    def write(self, window: Window, values: np.ndarray, aside: None) -> None:
        """Store a window."""
        if self.array is None:
            self.array = np.empty((len(values), *self.extent), values.dtype)
        self.array[:, *window] = values

    def finish(self, rows: int, carry: Carry) -> None:
        """Note nothing."""

    def commit(self) -> None:
        """Do nothing: the array is there."""
