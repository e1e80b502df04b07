"""How a TIFF file lays out its blocks: checked against the file's size before anything is decoded.

The file's directory is read here, as GDAL trusts what it declares, and libraries that list the blocks do so as Python
objects, of which a large file has millions.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...core.errors import UserError

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIP_OFFSETS, CHANNELS, STRIP_ROWS, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
ORIENTATION, EXTRA_SAMPLES = 274, 338
TAGS = {
    *(SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, CHANNELS, STRIP_ROWS, STRIP_BYTES, PLANAR),
    *(TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES),
    *(ORIENTATION, EXTRA_SAMPLES),
}
WHOLE_NUMBERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # of TIFF's field types
MASK, SEPARATE, YCBCR, UNCOMPRESSED = 4, 2, 6, 1
HIGHEST_RATIO = {5: 4096, 7: 1024, 8: 1040, 32773: 64, 32946: 1040}
"""What LZW, JPEG, deflate and PackBits can make of one byte at most; other codecs stay below OTHER_RATIO."""
OTHER_RATIO = 1 << 17
LARGE_BLOCK = 1 << 26  # bytes; smaller ones do no harm
MOST_PAGES = 4096
MOST_BLOCKS = 1 << 28


@dataclass(frozen=True)
class Layout:
    """Where a raster's samples stand in blocks.

    Attributes:
        shape: (H, W) of the raster.
        block: (h, w) of a block; strips are as wide as the raster.
        stored: bool (planes, rows of blocks, columns of blocks); False where the file leaves a block out. There is
            one plane for all bands, or one for each.
    """

    shape: tuple[int, int]
    block: tuple[int, int]
    stored: np.ndarray

    @property
    def is_sparse(self) -> bool:
        """Tell whether any block is left out."""
        return not self.stored.all()

    def stored_in(self, window: tuple[slice, slice], bands: tuple[int, ...]) -> bool:
        """Tell whether any block that reaches into a window holds samples of these bands, counted from 1."""
        return bool(self._planes(bands)[:, *self._blocks(window)].any())

    def stored_samples(self, window: tuple[slice, slice], bands: tuple[int, ...]) -> np.ndarray:
        """Return for each pixel of a window whether any of these bands is stored there, bool (h, w)."""
        blocks = self._planes(bands)[:, *self._blocks(window)].any(axis=0)
        for axis, (part, size) in enumerate(zip(window, self.block, strict=True)):
            first = part.start // size
            index = np.arange(part.start, part.stop) // size - first
            blocks = blocks.take(index, axis=axis)
        return blocks

    def _planes(self, bands: tuple[int, ...]) -> np.ndarray:
        return self.stored if len(self.stored) == 1 else self.stored[[band - 1 for band in bands]]

    def _blocks(self, window: tuple[slice, slice]) -> tuple[slice, ...]:
        parts = zip(window, self.block, strict=True)
        return tuple(slice(part.start // size, -(-part.stop // size)) for part, size in parts)


def read_layout(path: Path, directory: int = 1) -> Layout:
    """Read the layout of a page, and check it and the masks that belong to it.

    Args:
        path: the file.
        directory: which of the file's directories, from 1; overviews and masks have directories of their own.

    Raises:
        UserError: the file is no TIFF, was cut short, or declares what it cannot hold.
    """
    with _telling(path), path.open("rb") as file:
        size = path.stat().st_size
        pages = islice(_pages(file, size), directory - 1, None)
        main = _checked(next(pages), size)
        for page in pages:
            if page.get(SUBFILE, [0])[0] == MASK:
                _checked(page, size)
    return main


def read_tags(path: Path, directory: int = 1) -> dict[int, np.ndarray]:
    """Return the values of those tags in `TAGS` that a directory of the file, from 1, has.

    Raises:
        UserError: the file is no TIFF or was cut short.
    """
    with _telling(path), path.open("rb") as file:
        return next(islice(_pages(file, path.stat().st_size), directory - 1, None))


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise _damaged(path, f"its directory has no tag {error}") from None
    except (struct.error, IndexError, StopIteration):
        raise _damaged(path, "its directory makes no sense") from None
    except _DamageError as error:
        raise _damaged(path, str(error)) from None


class _DamageError(Exception):
    """What is wrong with a file."""


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: the file is damaged or was cut short ({reason}); get or write it again.")


def _pages(file: BinaryIO, size: int) -> Iterator[dict[int, np.ndarray]]:
    """Yield the known tags of each directory of the file."""
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack(f"{order}H", head[2:4])[0] if order else 0
    if version not in (42, 43):
        raise _DamageError("it is no TIFF file")
    is_big = version == 43
    offset = struct.unpack_from(f"{order}Q", head, 8)[0] if is_big else struct.unpack_from(f"{order}L", head, 4)[0]
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < MOST_PAGES:
        seen.add(offset)
        try:
            page, offset = _page(file, size, offset, order, is_big)
        except (_DamageError, struct.error):
            if len(seen) == 1:
                raise
            return  # a page that nothing is read from
        yield page


def _page(file: BinaryIO, size: int, offset: int, order: str, is_big: bool) -> tuple[dict[int, np.ndarray], int]:
    count_format, entry_format, next_format = ("Q", "HHQ8s", "Q") if is_big else ("H", "HHL4s", "L")
    if offset > size:
        raise _DamageError("a directory lies beyond its end")
    file.seek(offset)
    (count,) = struct.unpack(f"{order}{count_format}", file.read(8 if is_big else 2))
    length = struct.calcsize(f"{order}{entry_format}")
    if offset + count * length > size:
        raise _DamageError(f"a directory of {count} tags does not fit into {size} bytes")
    entries = file.read(count * length)
    (following,) = struct.unpack(f"{order}{next_format}", file.read(8 if is_big else 4))
    page = {}
    for tag, kind, number, value in struct.iter_unpack(f"{order}{entry_format}", entries):
        if tag in TAGS and tag not in page:
            page[tag] = _values(file, size, kind, number, value, order)
    return page, following


def _values(file: BinaryIO, size: int, kind: int, number: int, value: bytes, order: str) -> np.ndarray:
    if number == 0:
        return np.zeros(0, np.int64)  # the blocks of a file to which nothing was written
    if kind not in WHOLE_NUMBERS:
        raise _DamageError(f"a tag of type {kind}")
    dtype = np.dtype(order + WHOLE_NUMBERS[kind])
    length = number * dtype.itemsize
    if length > len(value):
        (place,) = struct.unpack(f"{order}{'L' if len(value) == 4 else 'Q'}", value)
        if place + length > size:
            raise _DamageError(f"a tag of {length} bytes lies beyond its end")
        file.seek(place)
        value = file.read(length)
    return np.frombuffer(value[:length], dtype)


def _checked(page: dict[int, np.ndarray], size: int) -> Layout:
    """Return the layout of a page after checking that the file can hold its blocks."""
    shape, block, planes = _declared(page)
    grid = planes, -(-shape[0] // block[0]), -(-shape[1] // block[1])
    number = math.prod(grid)
    offsets = page[TILE_OFFSETS if TILE_OFFSETS in page else STRIP_OFFSETS]
    is_empty = not len(offsets)  # nothing was ever written
    if number > MOST_BLOCKS or (len(offsets) != number and not is_empty):
        raise _DamageError(f"{shape[1]} x {shape[0]} pixels need {number} blocks, it lists {len(offsets)}")
    full = _decoded_bytes(page, shape, block, grid)
    lengths = full if is_empty else page.get(TILE_BYTES if TILE_BYTES in page else STRIP_BYTES, full)
    if len(lengths) < number:
        raise _DamageError(f"{number} blocks have {len(lengths)} sizes")
    offsets = np.zeros(number, np.int64) if is_empty else offsets
    stored = (offsets != 0) & (lengths[:number] != 0)
    compression = _first(page, COMPRESSION, UNCOMPRESSED)
    if compression == UNCOMPRESSED and _first(page, PHOTOMETRIC, 0) != YCBCR:
        lengths = full  # what is listed for them is often wrong
    held = np.where(stored, lengths[:number], 0).astype(np.float64)
    ends = offsets.astype(np.float64) + held  # exact up to 2^53, and without overflow beyond
    if beyond := int((stored & (ends > size)).sum()):
        raise _DamageError(f"{beyond} of {number} blocks lie beyond its end")
    ratio = 1 if compression == UNCOMPRESSED else HIGHEST_RATIO.get(compression, OTHER_RATIO)
    if ((full > LARGE_BLOCK) & (full > held * ratio)).any():
        raise _DamageError(f"it declares blocks of {full.max():.0f} bytes, more than it can hold")
    return Layout(shape, block, stored.reshape(grid))


def _declared(page: dict[int, np.ndarray]) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Return the shape, the shape of blocks and the number of planes."""
    height, width, channels = _first(page, HEIGHT), _first(page, WIDTH), _first(page, CHANNELS, 1)
    if TILE_WIDTH in page:
        block = _first(page, TILE_HEIGHT), _first(page, TILE_WIDTH)
    else:
        block = min(_first(page, STRIP_ROWS, height), height), width
    if min(height, width, channels, *block) < 1:
        raise _DamageError(f"it declares {width} x {height} pixels of {channels} bands")
    return (height, width), block, channels if _first(page, PLANAR, 1) == SEPARATE else 1


def _decoded_bytes(
    page: dict[int, np.ndarray], shape: tuple[int, int], block: tuple[int, int], grid: tuple[int, int, int]
) -> np.ndarray:
    """Return the bytes of each block once it is decoded, as floats, which do not overflow."""
    channels = _first(page, CHANNELS, 1) if grid[0] == 1 else 1
    rows = np.full(grid[1], float(block[0]))
    if TILE_WIDTH not in page:  # tiles are whole, the last strip may be lower than the others
        rows[-1] = shape[0] - block[0] * (grid[1] - 1)
    row_bytes = -(-block[1] * channels * _first(page, BITS, 1) // 8)
    return np.broadcast_to((rows * row_bytes)[:, None], grid).ravel()


def _first(page: dict[int, np.ndarray], tag: int, default: int | None = None) -> int:
    return int(page[tag][0]) if default is None or tag in page else default
