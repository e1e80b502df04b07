"""Files that may be gzipped, opened for reading at any place.

What is gzipped is unpacked once into a file without a name, in the folder for temporary files (TMPDIR); that also
proves its checksum before any work begins. It vanishes when it is closed, even by a killed run.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO

from ....core.errors import UserError

CHUNK = 1 << 20  # bytes
HIGHEST_RATIO = 1032  # of unpacked to packed bytes that deflate can reach
PADDING = 4096  # bytes behind the samples that are taken for padding of a writer


def first_bytes(path: Path, count: int) -> bytes:
    """Return the first bytes of a file, unpacked, or as many as there are.

    Raises:
        UserError: the file is missing, empty, or damaged.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; check the path.")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; get it again.")
    with path.open("rb") as file:
        return _read(gzip.GzipFile(fileobj=file), path, count) if _is_packed(file) else file.read(count)


def open_samples(path: Path, start: int, size: int) -> tuple[BinaryIO, int]:
    """Open `size` bytes of samples that begin at byte `start` of a file, unpacked.

    Args:
        path: the file, which `first_bytes` has accepted.
        start: as the header says.
        size: as the header says; nothing of this size is made before the file's own size allows it.

    Returns:
        A file without a buffer, and the place of the first sample in it.

    Raises:
        UserError: the file is damaged, or shorter or clearly longer than declared; or there is no room to unpack it.
    """
    file = path.open("rb", buffering=0)
    try:
        if not _is_packed(file):
            _check_size(path, os.fstat(file.fileno()).st_size, start + size)
            return file, start
        _check_ratio(path, os.fstat(file.fileno()).st_size, start + size)
        with file:
            return _unpacked(file, path, start, size), 0
    except BaseException:
        file.close()
        raise


def _unpacked(file: BinaryIO, path: Path, start: int, size: int) -> BinaryIO:
    _check_room(path, size)
    packed = gzip.GzipFile(fileobj=file)
    samples = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed by the caller)
    try:
        for place in range(0, start, CHUNK):
            _read(packed, path, min(CHUNK, start - place))
        done = 0
        while done < size and (part := _read(packed, path, min(CHUNK, size - done))):
            _write(samples, path, part)
            done += len(part)
        rest = len(_read(packed, path, PADDING + 1))  # reading to the end also compares the checksum
        _check_size(path, start + done + rest, start + size)
    except BaseException:
        samples.close()
        raise
    return samples


def _is_packed(file: BinaryIO) -> bool:
    magic = file.read(2)
    file.seek(0)
    return magic == b"\x1f\x8b"


def _read(packed: gzip.GzipFile, path: Path, count: int) -> bytes:
    try:
        return packed.read(count)
    except EOFError:
        raise UserError(f"{path}: the file was cut short; get it again.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: the file is damaged ({error}); get it again.") from None


def _write(samples: BinaryIO, path: Path, part: bytes) -> None:
    view = memoryview(part)
    try:
        while view:  # a write may take less than it is given
            view = view[samples.write(view) :]
    except OSError as error:
        folder = tempfile.gettempdir()
        raise UserError(
            f"{path}: cannot be unpacked in {folder} ({error.strerror}); make room, or set TMPDIR to another folder."
        ) from None


def _check_size(path: Path, found: int, declared: int) -> None:
    if found < declared:
        raise UserError(
            f"{path}: the file was cut short or its header is damaged: {declared} bytes are declared, {found} are "
            "there; get it again."
        )
    if found > declared + PADDING:
        raise UserError(
            f"{path}: the header is damaged: {declared} bytes are declared, and the file goes on behind them; "
            "get it again, or write it anew with the program that made it."
        )


def _check_ratio(path: Path, packed: int, declared: int) -> None:
    if declared > HIGHEST_RATIO * packed:
        raise UserError(
            f"{path}: the file was cut short or its header is damaged: {declared} bytes are declared, and {packed} "
            "packed bytes cannot hold them; get it again."
        )


def _check_room(path: Path, size: int) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(
            f"{path}: no room to unpack it: {size / 1e6:.0f} MB are needed in {folder} and {free / 1e6:.0f} MB are "
            "free; make room, or set TMPDIR to another folder."
        )
