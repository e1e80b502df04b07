"""Finished rows of an image on disk, safe at any moment: what a killed run leaves is what the next one goes on from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from ...core.errors import UserError

ENVI_TYPE = {np.dtype(np.uint8): 1, np.dtype(np.uint16): 12}  # codes of the header


class RowFile:
    """Raw pixel rows, appended one after the other, with an ENVI header through which GDAL reads them.

    The header also holds the fingerprint of the work: rows of the same work, left by an earlier run, are kept, and
    any others are dropped. A row that was cut short is dropped too.

    Args:
        path: the file; the header stands beside it with the suffix ".hdr".
        shape: (C, H, W) of the whole image.
        dtype: uint8 or uint16.
        fingerprint: tells the same work again; "" never goes on from earlier rows.

    Raises:
        UserError: the disk has no room for the missing rows.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: np.dtype, fingerprint: str = "") -> None:
        self.path = path
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.header = path.with_name(path.name + ".hdr")
        self.row_bytes = shape[0] * shape[2] * self.dtype.itemsize
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = bool(fingerprint) and self._is_same_work(fingerprint)
        self.rows_done = min(path.stat().st_size // self.row_bytes, shape[1]) if kept else 0
        self._check_room()
        self.file = open(path, "r+b" if kept else "wb", buffering=0)  # noqa: SIM115 (closed by close)
        self.file.truncate(self.rows_done * self.row_bytes)
        self.file.seek(0, os.SEEK_END)
        self.header.write_text(self._header(fingerprint))

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows, (C, r, W) of the file's dtype."""
        data = memoryview(np.ascontiguousarray(rows.transpose(1, 2, 0), dtype=self.dtype)).cast("B")
        while data:  # an unbuffered write may take less than it is given
            data = data[self.file.write(data) :]
        self.rows_done += rows.shape[1]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the rows start..stop, (r, W, C)."""
        channels, _, width = self.shape
        count = (stop - start) * width * channels
        values = np.fromfile(self.path, self.dtype, count, offset=start * self.row_bytes)
        return values.reshape(stop - start, width, channels)

    def close(self) -> None:
        """Close the file and leave it for a later run."""
        self.file.close()

    def delete(self) -> None:
        """Remove the file and its header."""
        self.file.close()
        self.path.unlink(missing_ok=True)
        self.header.unlink(missing_ok=True)

    def _is_same_work(self, fingerprint: str) -> bool:
        return self.path.exists() and self.header.exists() and self.header.read_text() == self._header(fingerprint)

    def _header(self, fingerprint: str) -> str:
        channels, height, width = self.shape
        return (
            f"ENVI\ndescription = {{{fingerprint}}}\nsamples = {width}\nlines = {height}\nbands = {channels}\n"
            f"header offset = 0\ndata type = {ENVI_TYPE[self.dtype]}\ninterleave = bip\nbyte order = 0\n"
        )

    def _check_room(self) -> None:
        needed = (self.shape[1] - self.rows_done) * self.row_bytes
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            raise UserError(
                f"{self.path.parent}: the disk is full: {needed / 1e6:.0f} MB are needed for the pixels of one image "
                f"and {free / 1e6:.0f} MB are free; make room, or choose another place."
            )
