"""Blocks of a wide raster, decoded once each and kept on disk while windows need them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

Window = tuple[slice, slice]


class BlockStore:
    """The blocks decoded last, in a temporary file whose rows of blocks are used again and again.

    Windows of overlapping tiles ask for each block several times, and a whole row of tiles lies between the first time
    and the last; a row of blocks of a wide raster does not fit in memory, nor does it need to. Windows are read from
    top to bottom; going back decodes again.

    Args:
        shape: (C, H, W) of the raster.
        dtype: of its samples.
        block: (h, w) of a block.
        together: blocks side by side that are decoded at once, as those that are cut out of strips.
        decode: gives the samples of a window, (C, h, w).
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: np.dtype,
        block: tuple[int, int],
        together: int,
        decode: Callable[[Window], np.ndarray],
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.block = block
        self.together = together
        self.decode = decode
        self.columns = -(-shape[2] // block[1])
        self.block_bytes = block[0] * block[1] * shape[0] * self.dtype.itemsize
        self.held: list[int | None] = []  # the row of blocks in each place of the file
        self.decoded = np.zeros((0, self.columns), bool)
        self.file = tempfile.TemporaryFile(prefix="foveal-blocks-")  # noqa: SIM115 - kept open

    def read(self, window: Window) -> np.ndarray:
        """Return a window, (C, h, w)."""
        rows, columns = window
        samples = np.empty((self.shape[0], rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        most = (rows.stop - rows.start - 2) // self.block[0] + 2  # that so many rows reach into, wherever they begin
        if most > len(self.held):
            self.held = [None] * most
            self.decoded = np.zeros((most, self.columns), bool)
        for row, inner_rows, place_rows in _blocks(rows, self.block[0]):
            place = self._place(row)
            for column, inner_columns, place_columns in _blocks(columns, self.block[1]):
                if not self.decoded[place, column]:
                    self._decode(row, place, column)
                part = self._load(place, row, column, inner_rows)
                samples[:, place_rows, place_columns] = np.moveaxis(part[:, inner_columns], -1, 0)
        return samples

    def close(self) -> None:
        """Remove the temporary file."""
        self.file.close()

    def _place(self, row: int) -> int:
        """Return where in the file a row of blocks is held; that of another row is taken if it is not yet."""
        place = row % len(self.held)
        if self.held[place] != row:
            self.held[place] = row
            self.decoded[place] = False
        return place

    def _decode(self, row: int, place: int, column: int) -> None:
        """Decode a block, and those beside it that come with it."""
        first = column // self.together * self.together
        columns = range(first, min(first + self.together, self.columns))
        window = self._extent(row, 0), slice(first * self.block[1], self._extent(columns[-1], 1).stop)
        samples = np.moveaxis(self.decode(window), 0, -1)
        for each in columns:
            start = (each - first) * self.block[1]
            part = np.ascontiguousarray(samples[:, start : start + self.block[1]])
            view, offset = memoryview(part).cast("B"), self._offset(place, each)
            while view:  # a write may take less than it is given
                written = os.pwrite(self.file.fileno(), view, offset)
                view, offset = view[written:], offset + written
            self.decoded[place, each] = True

    def _load(self, place: int, row: int, column: int, rows: slice) -> np.ndarray:
        """Return some rows of a block, (rows, w, C)."""
        extent = self._extent(column, 1)
        part = np.empty((rows.stop - rows.start, extent.stop - extent.start, self.shape[0]), self.dtype)
        offset = self._offset(place, column) + rows.start * part[0].nbytes
        view = memoryview(part).cast("B")
        while view:
            read = os.preadv(self.file.fileno(), [view], offset)
            if not read:
                raise OSError("the temporary file of decoded blocks was cut short")
            view, offset = view[read:], offset + read
        return part

    def _extent(self, number: int, axis: int) -> slice:
        size = self.block[axis]
        return slice(number * size, min((number + 1) * size, self.shape[axis + 1]))

    def _offset(self, place: int, column: int) -> int:
        return (place * self.columns + column) * self.block_bytes


def _blocks(part: slice, size: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield each block along an axis: its number, what is wanted of it, and where that stands in the window."""
    for number in range(part.start // size, -(-part.stop // size)):
        start, stop = max(part.start, number * size), min(part.stop, (number + 1) * size)
        yield number, slice(start - number * size, stop - number * size), slice(start - part.start, stop - part.start)
