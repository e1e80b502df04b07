"""Pictures inside the page: data URIs, smaller the less room there is."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

LOSSY = {"quality": 88, "method": 4}
LOSSLESS = {"lossless": True, "quality": 20, "method": 2}  # quality is effort here: more saves 2 % in 4 times the time
EXACT = 256 * 256  # pixels up to which a picture at full size keeps every value


@dataclass(frozen=True)
class Picture:
    """A picture as the page holds it.

    Attributes:
        title: what it shows.
        source: a data URI.
        width: in pixels.
        height: in pixels.
    """

    title: str
    source: str
    width: int
    height: int


def embedded(title: str, path: Path, scale: float = 1.0) -> Picture:
    """Return a PNG file as a picture of the page: colours as WebP, grey values as they are.

    A small picture at full size keeps every value, so that what a slider compares is not blurred once more.

    Args:
        title: what it shows.
        path: the file.
        scale: by which the sides of a picture in colour are made smaller, 0..1.
    """
    from PIL import Image

    with Image.open(path) as image:
        size = image.size
        if image.mode == "L":
            return Picture(title, _uri("png", path.read_bytes()), *size)
        smaller = image.resize([max(1, round(side * scale)) for side in size], Image.Resampling.LANCZOS)
    buffer = BytesIO()
    exact = scale == 1 and size[0] * size[1] <= EXACT
    smaller.save(buffer, "WEBP", **(LOSSLESS if exact else LOSSY))
    return Picture(title, _uri("webp", buffer.getvalue()), *size)


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
