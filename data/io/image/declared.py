"""Sizes that image files declare, held against the bytes that are there before anything is decoded.

A damaged header may ask for any amount of memory. Every codec has a highest ratio of pixels to bytes; a file above it
cannot be what it says.
"""

from __future__ import annotations

from pathlib import Path

HIGHEST_DEFLATE = 1040  # bytes out of one (RFC 1951: 258 bytes from two bits)
HIGHEST_RUNS = 1100  # bytes of a BMP out of one of its runs, which may also skip
HIGHEST_JPEG = 512  # pixels out of one byte: a Huffman code of at least one bit for a block of 64
SAMPLES_OF_PNG = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
BITMAP_CORE = 12  # bytes of the oldest header
RUN_LENGTHS = (1, 2)  # values of the field "compression"


def too_large(path: Path, kind: str) -> str | None:
    """Say why a PNG or BMP file cannot hold the pixels that it declares, or None where it can.

    Args:
        path: the file.
        kind: "PNG", "BMP", or another format, which is not looked at.
    """
    needed = {"PNG": _png, "BMP": _bmp}.get(kind)
    if needed is None:
        return None
    with path.open("rb") as file:
        head = file.read(64)
    size = path.stat().st_size
    width, height, least = needed(head)
    return None if least <= size else reason(width, height, size)


def too_large_jpeg(width: int, height: int, size: int) -> str | None:
    """Say why a JPEG file of `size` bytes cannot hold as many pixels, or None where it can."""
    return None if width * height <= HIGHEST_JPEG * size else reason(width, height, size)


def reason(width: int, height: int, size: int) -> str:
    """Return the reason why a file is refused."""
    return f"{width} x {height} pixels are declared, which {size} bytes cannot hold"


def _png(head: bytes) -> tuple[int, int, float]:
    """Return width, height, and how many bytes the file has at least."""
    width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    depth, samples = head[24:25], SAMPLES_OF_PNG.get(head[25] if len(head) > 25 else 0, 1)
    row_bytes = 1 + -(-width * samples * int.from_bytes(depth, "big") // 8)
    return width, height, height * row_bytes / HIGHEST_DEFLATE


def _bmp(head: bytes) -> tuple[int, int, float]:
    """Return width, height, and how many bytes the file has at least."""
    if int.from_bytes(head[14:18], "little") == BITMAP_CORE:
        width, height, bits = (int.from_bytes(head[at : at + 2], "little") for at in (18, 20, 24))
        coding = 0
    else:
        width, height = (abs(int.from_bytes(head[at : at + 4], "little", signed=True)) for at in (18, 22))
        bits, coding = int.from_bytes(head[28:30], "little"), int.from_bytes(head[30:34], "little")
    row_bytes = -(-width * bits // 32) * 4
    ratio = HIGHEST_RUNS if coding in RUN_LENGTHS else 1
    return width, height, height * row_bytes / ratio
