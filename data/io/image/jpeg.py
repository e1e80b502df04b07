"""JPEG files written band by band, so that an image of any size needs the memory of one band.

Each band is encoded alone with a restart marker after every row of blocks. Encoding starts afresh behind a restart
marker, so the bands' coded data, joined by the marker that would stand between them, are the file that encoding the
whole image would give, byte for byte (ITU-T T.81, sections B.2.4.4 and E.1.4).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

QUALITY = 95
BAND = 8 * 8  # rows of a band: eight rows of 8x8 blocks, as the numbers of restart markers cycle through eight
RESTART = b"\xff\xd7"  # the eighth marker, which stands between two bands
START_OF_FRAME = 0xC0
START_OF_SCAN = 0xDA
LARGEST_SIDE = 65500  # pixels; the limit of libjpeg


def write_jpeg(path: Path, read: Callable[[int, int], np.ndarray], height: int, icc_profile: bytes | None) -> None:
    """Write a baseline JPEG file with full colour resolution.

    Args:
        path: the file.
        read: gives the rows start..stop as uint8 (r, W, 1) or (r, W, 3).
        height: rows of the image.
        icc_profile: the colour profile to embed.
    """
    with open(path, "wb") as file:
        for top in range(0, height, BAND):
            head, coded = _encode(read(top, min(top + BAND, height)), icc_profile if top == 0 else None)
            file.write(_with_height(head, height) if top == 0 else RESTART)
            file.write(coded)
        file.write(b"\xff\xd9")


def _encode(rows: np.ndarray, icc_profile: bytes | None) -> tuple[bytes, bytes]:
    """Return the markers of a JPEG of these rows, and the coded data behind them without the closing marker."""
    buffer = io.BytesIO()
    image = Image.fromarray(rows[..., 0] if rows.shape[-1] == 1 else rows)
    image.save(buffer, "JPEG", quality=QUALITY, subsampling=0, restart_marker_rows=1, icc_profile=icc_profile)
    data = buffer.getvalue()
    start = next(end for kind, _, end in _segments(data) if kind == START_OF_SCAN)
    return data[:start], data[start:-2]


def _with_height(head: bytes, height: int) -> bytes:
    """Put the height of the whole image into the markers."""
    begin = next(begin for kind, begin, _ in _segments(head) if kind == START_OF_FRAME)
    return head[: begin + 5] + height.to_bytes(2, "big") + head[begin + 7 :]


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    """Return (kind, begin, end) of the marker segments up to the scan."""
    segments, begin = [], 2
    while not segments or segments[-1][0] != START_OF_SCAN:
        end = begin + 2 + int.from_bytes(data[begin + 2 : begin + 4], "big")
        segments.append((data[begin + 1], begin, end))
        begin = end
    return segments
