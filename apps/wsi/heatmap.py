"""Where a network looks on a slide: its attention as a pyramid and a picture over the slide, and its top regions."""

# N tiles, H W pixels of the heatmap

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...core.weights.card import Card
from ...data.geometry import SlideGeometry
from ...data.io.slide import HeatmapSink, PreviewSink, SlideSource
from ...data.io.slide.outlines import annotation, write_annotations
from .tiling import Tiles

PIXELS = 16  # along a side of a tile, at most
LONGEST = 8192  # pixels along a side, at most
SHARPEST = 4.0  # pixels of the finest level per pixel, at least
BAND = 256  # rows painted at once
COLOUR = (230, 25, 75)
TOP = "Most attended"
UNIT = "Attention (1: an average tile)"


class TileGrid:
    """Tiles of a slide on a grid of pixels of which a whole number makes a side of a tile.

    It takes the place of the slide in the sinks, so that what they write and draw is the tiles. Attributes are those
    of `Backdrop`, tissue being where tiles are.

    Args:
        source: the slide.
        tiles: which.
    """

    def __init__(self, source: SlideSource, tiles: Tiles) -> None:
        self.path = source.path
        self.overview = source.overview
        self.overview_mpp = source.overview_mpp
        exact = tiles.size * tiles.mpp / tiles.level0_mpp
        side = exact if abs(exact - tiles.size0) < 1 else tiles.size0  # pixels of the finest level, not rounded
        longest = side * LONGEST / max(tiles.level0_shape)
        self.side = max(int(min(PIXELS, side / SHARPEST, longest)), 1)
        step = side / self.side
        shape = tuple(math.ceil(length / step) for length in tiles.level0_shape)
        self.geometry = SlideGeometry(shape, step * tiles.level0_mpp, tiles.level0_shape, tiles.level0_mpp)
        first = tiles.coords.min(axis=0)
        # Whole pixels from one tile to the next, wherever the first lies, so that neighbours leave no gap.
        self.corners = (first / step).round().astype(np.int64) + ((tiles.coords - first) / step).round().astype(
            np.int64
        )
        self.order = np.argsort(self.corners[:, 1], kind="stable")
        self.tissue_overview = np.zeros(shape, bool)
        for x, y in self.corners:
            self.tissue_overview[y : y + self.side, x : x + self.side] = True

    def tissue(self, window: tuple[slice, ...], scale: int = 1) -> np.ndarray:
        """Return where tiles are in a window, bool (h, w)."""
        return self.tissue_overview[window]

    def painted(self, values: np.ndarray, top: int, bottom: int) -> np.ndarray:
        """Return rows of the heatmap: of each pixel the mean over the tiles on it, float32 (bottom - top, W).

        Args:
            values: of the tiles, (N,).
            top: the first row.
            bottom: behind the last row.
        """
        total, count = np.zeros((2, bottom - top, self.geometry.shape[1]), np.float32)
        rows = self.corners[self.order, 1]
        for tile in self.order[slice(*np.searchsorted(rows, (top - self.side + 1, bottom)))]:
            x, y = self.corners[tile]
            place = slice(max(y - top, 0), y + self.side - top), slice(x, x + self.side)
            total[place] += values[tile]
            count[place] += 1
        return total / np.maximum(count, 1)


class AttentionSink(PreviewSink):
    """The picture, in which tiles that are attended to alike have the colour of the middle."""

    reach = 2.0  # times an average tile


def draw_heatmap(
    pyramid: Path, picture: Path, source: SlideSource, tiles: Tiles, attention: np.ndarray, card: Card, told: str
) -> None:
    """Write the attention of a slide as a pyramidal TIFF, float32, and as a picture over the slide.

    Both hold the share of a tile times the number of tiles, so that an average tile has 1; what is no tile has 0.

    Args:
        pyramid: the .tif file.
        picture: the .png file.
        source: the slide.
        tiles: its tiles.
        attention: their shares, float32 (N,).
        card: of the network.
        told: what is predicted, for titles.
    """
    grid = TileGrid(source, tiles)
    values = attention * np.float32(len(attention))
    named = dataclasses.replace(
        card, name=f"{card.name}: {told}", kind="dense", outputs=(UNIT,), activation="none", mean=(), std=()
    )
    height, width = grid.geometry.shape
    for sink in (HeatmapSink(pyramid, grid, named), AttentionSink(picture, grid, named)):
        with sink:
            for top in range(0, height, BAND):
                window = slice(top, min(top + BAND, height)), slice(0, width)
                rows = grid.painted(values, top, window[0].stop)
                sink.write(window, rows[None], sink.aside(window))
                sink.finish(window[0].stop)
            sink.commit()


def write_regions(path: Path, tiles: Tiles, attention: np.ndarray, top: int) -> None:
    """Write the most attended tiles as annotations, the strongest first.

    Args:
        path: the .geojson file.
        tiles: of the slide.
        attention: their shares, (N,).
        top: how many.
    """
    strongest = np.argsort(-attention, kind="stable")[:top]
    write_annotations(path, _regions(tiles, attention, strongest))


def _regions(tiles: Tiles, attention: np.ndarray, chosen: np.ndarray) -> Iterator[dict[str, Any]]:
    height, width = tiles.level0_shape
    for rank, tile in enumerate(chosen, start=1):
        left, top = tiles.coords[tile].tolist()
        right, bottom = min(left + tiles.size0, width), min(top + tiles.size0, height)
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        share = float(attention[tile])
        measurements = {"Rank": rank, "Attention share": share, UNIT: share * len(attention)}
        yield annotation([ring], TOP, COLOUR, measurements)
