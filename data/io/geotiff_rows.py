"""Rows of a raster that is stored in strips, decoded once each and kept on disk while windows need them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

import numpy as np

CHUNK = 8 << 20  # bytes decoded at a time


class RecentRows:
    """The rows decoded last, in a temporary file that is written round and round.

    A window that takes a few columns of a strip costs the whole strip; wide strips of all rows of tiles do not fit in
    memory. Windows are read from top to bottom; going back starts again from there.

    Args:
        shape: (C, H, W) of the raster.
        dtype: of its samples.
        step: rows of a strip.
        decode: gives the rows start..stop, (C, rows, W).
    """

    def __init__(
        self, shape: tuple[int, int, int], dtype: np.dtype, step: int, decode: Callable[[int, int], np.ndarray]
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.row_bytes = shape[0] * shape[2] * self.dtype.itemsize
        self.step = step * max(1, CHUNK // (self.row_bytes * step))
        self.decode = decode
        self.capacity = 0  # rows
        self.top = self.bottom = 0
        self.file = tempfile.TemporaryFile(prefix="foveal-rows-")  # noqa: SIM115 - kept open

    def read(self, window: tuple[slice, slice]) -> np.ndarray:
        """Return a window, (C, h, w)."""
        rows, columns = window
        self._hold(rows.start, rows.stop)
        unit = self.row_bytes // self.shape[2]
        samples = np.empty((rows.stop - rows.start, columns.stop - columns.start, self.shape[0]), self.dtype)
        for row, line in enumerate(samples, start=rows.start):
            offset = (row % self.capacity) * self.row_bytes + columns.start * unit
            if os.preadv(self.file.fileno(), [line], offset) < line.nbytes:
                raise OSError(f"{self.file.name}: the temporary file was cut short")
        return np.moveaxis(samples, -1, 0)

    def close(self) -> None:
        """Remove the temporary file."""
        self.file.close()

    def _hold(self, start: int, stop: int) -> None:
        """Make sure that these rows are in the file."""
        if stop - start + self.step > self.capacity:
            self.capacity = stop - start + 2 * self.step
            self.top = self.bottom = start
        if not self.top <= start <= self.bottom:
            self.top = self.bottom = start
        while self.bottom < stop:
            end = min(self.shape[1], self.step * (self.bottom // self.step + 1))
            self._store(np.ascontiguousarray(np.moveaxis(self.decode(self.bottom, end), 0, -1)))
        self.top = max(self.top, self.bottom - self.capacity)

    def _store(self, rows: np.ndarray) -> None:
        """Append rows, (rows, W, C)."""
        self.file.seek((self.bottom % self.capacity) * self.row_bytes)
        fitting = self.capacity - self.bottom % self.capacity
        self.file.write(rows[:fitting])
        if len(rows) > fitting:
            self.file.seek(0)
            self.file.write(rows[fitting:])
        self.file.flush()
        self.bottom += len(rows)
