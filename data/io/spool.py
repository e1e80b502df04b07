"""Finished samples of an output on disk, safe at any moment: what a killed run leaves, the next one goes on from."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...core.atomic import written_beside
from ...core.errors import UserError
from ...core.inference.streams import Carry

ENVI_TYPE = {"u1": 1, "i2": 2, "i4": 3, "f4": 4, "f8": 5, "u2": 12, "u4": 13}  # codes of the header GDAL reads
SHORTEST = 2  # bytes of a file that GDAL takes for a raster; one pixel of 8 bits has fewer


class Spool:
    """Raw samples, written window by window into a hidden file beside the output.

    A second file says how many rows (samples of the first spatial axis) are finished, and holds what the engine
    carries over to the next ones. Together with the fingerprint of the work they make a later run of the same work go
    on after the last finished row; of any other work they are dropped. Unwritten samples are zero and take no room.

    Args:
        output: the file that will be made of the samples.
        shape: (C, *spatial) of all of them.
        dtype: of the samples, as they are stored.
        fingerprint: tells the same work again; "" never goes on from earlier rows.

    Attributes:
        rows_done: finished rows; all samples before them are written.
        carry: the arrays that an earlier run gave with them; those of this one are on disk alone.

    Raises:
        UserError: the disk has no room for the missing samples, or another run writes the same output now.
    """

    def __init__(self, output: Path, shape: tuple[int, ...], dtype: np.dtype, fingerprint: str = "") -> None:
        self.path = output.with_name(f".{output.name}.rows")
        self.state = output.with_name(f".{output.name}.state.npz")
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.fingerprint = fingerprint
        output.parent.mkdir(parents=True, exist_ok=True)
        self.rows_done, self.carry = 0, {}
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._lock(output)
        except BaseException:
            self.close()
            raise
        try:
            self.rows_done, self.carry = self._load_state()
            self._check_room()
            if not self.rows_done:
                self.state.unlink(missing_ok=True)
                os.truncate(self.file, 0)
            os.truncate(self.file, self._bytes())
        except BaseException:
            self.close() if self.rows_done else self.delete()
            raise

    def write(self, window: tuple[slice, ...], values: np.ndarray) -> None:
        """Store a window of the spatial axes.

        Args:
            window: its place along each spatial axis.
            values: (C, *extent); rounded nowhere, only cast to the dtype.
        """
        data = np.ascontiguousarray(np.moveaxis(values, 0, -1), dtype=self.dtype)
        for offset, part in self._runs(window, data):
            view = memoryview(part).cast("B")
            while view:  # a write may take less than it is given
                written = os.pwrite(self.file, view, offset)
                view, offset = view[written:], offset + written

    def read(self, window: tuple[slice, ...]) -> np.ndarray:
        """Return a window of the spatial axes, (C, *extent)."""
        extent = [each.stop - each.start for each in window]
        data = np.empty((*extent, self.shape[0]), self.dtype)
        for offset, part in self._runs(window, data):
            view = memoryview(part).cast("B")
            while view:
                got = os.preadv(self.file, [view], offset)
                if not got:
                    raise OSError(errno.EIO, "the file became shorter while it was in use", str(self.path))
                view, offset = view[got:], offset + got
        return np.moveaxis(data, -1, 0)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return whole rows, (C, stop - start, *rest)."""
        return self.read((slice(start, stop), *(slice(0, size) for size in self.shape[2:])))

    def finish(self, rows: int, carry: Carry | None = None) -> None:
        """Note that all samples before this row are written, and keep arrays for whoever goes on from there."""
        carry = carry or {}
        self.rows_done, self.carry = rows, {}
        if self.fingerprint:
            with written_beside(self.state) as part:
                arrays = {f"carry{number}": array for number, array in enumerate(carry.values())}
                np.savez(part, rows=rows, work=self._work(), places=np.array(list(carry), np.int64), **arrays)

    @contextmanager
    def raster(self) -> Iterator[Path]:
        """Give the path by which GDAL's driver ENVI reads a two-dimensional output."""
        header = self.path.with_name(self.path.name + ".hdr")
        header.write_text(self.header())
        try:
            yield self.path
        finally:
            header.unlink(missing_ok=True)

    def header(self) -> str:
        """Return the text that tells GDAL how the samples lie in the file."""
        channels, height, width = self.shape
        return (
            f"ENVI\nsamples = {width}\nlines = {height}\nbands = {channels}\nheader offset = 0\n"
            f"data type = {ENVI_TYPE[self.dtype.str[1:]]}\ninterleave = bip\nbyte order = 0\n"
        )

    def close(self) -> None:
        """Close the file and leave it for a later run."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def delete(self) -> None:
        """Remove what stands beside the output, unless it was closed: then it may be another run's by now."""
        if self.file < 0:
            return
        self.state.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)  # after the state, which belongs to whoever holds this file's lock
        self.close()

    def _lock(self, output: Path) -> None:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{output}: another run writes this file now; wait for it, or give another place."
            ) from None
        if not (self.path.exists() and os.path.samestat(os.fstat(self.file), self.path.stat())):
            raise UserError(f"{output}: another run has just finished this file; give the command again.")

    def _load_state(self) -> tuple[int, Carry]:
        if not self.fingerprint or not self.state.exists() or os.fstat(self.file).st_size != self._bytes():
            return 0, {}
        try:
            with np.load(self.state, allow_pickle=False) as state:
                rows = int(state["rows"])
                carry = {tuple(place): state[f"carry{number}"] for number, place in enumerate(state["places"].tolist())}
                is_same = str(state["work"]) == self._work() and 0 <= rows <= self.shape[1]
        except Exception:  # whatever numpy and zipfile find in a damaged file: the work is done again
            return 0, {}
        return (rows, carry) if is_same else (0, {})

    def _work(self) -> str:
        """Return what must be the same for samples to be gone on from."""
        return f"{self.fingerprint} {self.shape} {self.dtype.str}"

    def _bytes(self) -> int:
        """Return how long the file is."""
        return max(SHORTEST, int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize)

    def _runs(self, window: tuple[slice, ...], data: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Return (offset in the file, part of `data`) of each contiguous run of samples; the channels lie inmost."""
        extent, size = data.shape[:-1], self.shape[1:]
        whole = len(size)  # axes from here on are taken whole, so that runs reach over them
        while whole > 1 and extent[whole - 1] == size[whole - 1]:
            whole -= 1
        steps = [int(np.prod(size[axis + 1 :], dtype=np.int64)) for axis in range(len(size))]
        inner = window[whole - 1].start * steps[whole - 1]
        unit = self.shape[0] * self.dtype.itemsize
        return [
            (unit * (inner + sum((window[a].start + i) * steps[a] for a, i in enumerate(index))), data[index])
            for index in np.ndindex(*extent[: whole - 1])
        ]

    def _check_room(self) -> None:
        held = os.fstat(self.file).st_blocks * 512
        missing = self._bytes() - held if self.rows_done else self._bytes()
        free = shutil.disk_usage(self.path.parent).free + (0 if self.rows_done else held)
        if missing > free:
            raise UserError(
                f"{self.path.parent}: the disk is full: {missing / 1e6:.0f} MB are needed for the samples of one "
                f"output and {free / 1e6:.0f} MB are free; make room, or choose another place."
            )
