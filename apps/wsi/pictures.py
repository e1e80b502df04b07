"""Pictures to look at before going on: tissue and tiles over the slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ...core.outlines import outlined
from ...core.weights.label import Label
from ...data.io.slide import SlideSource
from .slides import COLOUR
from .tiling import Tiles

LARGEST = 1600  # pixels along the longer side
TISSUE = Label(value=1, name="Tissue", colour=COLOUR)


def draw_tissue(path: Path, source: SlideSource, mask: np.ndarray) -> None:
    """Draw the outlines of tissue, (h, w) on the slide's overview, and the glass paler than it is."""
    picture, _ = _shown(source)
    tissue = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
    seen = np.asarray(picture)
    pale = np.where(tissue[..., None], seen, 255 - (255 - seen) // 3)
    Image.fromarray(outlined(pale.astype(np.uint8), tissue, [TISSUE])).save(path)


def draw_tiles(path: Path, source: SlideSource, tiles: Tiles) -> None:
    """Draw the outlines of tiles over the slide."""
    picture, scale = _shown(source)
    draw = ImageDraw.Draw(picture)
    for x, y in tiles.coords / scale:
        draw.rectangle((x, y, x + tiles.size0 / scale - 1, y + tiles.size0 / scale - 1), outline=COLOUR)
    picture.save(path)


def _shown(source: SlideSource) -> tuple[Image.Image, float]:
    """Return the slide, small enough for a picture, and pixels of the finest level per pixel of it."""
    height, width = source.overview_shape
    factor = min(LARGEST / max(height, width), 1.0)
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    picture = Image.fromarray(source.overview).resize(size, Image.Resampling.LANCZOS)
    return picture, source.overview_step / factor
