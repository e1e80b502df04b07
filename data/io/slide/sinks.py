"""What a program found on a slide: a pyramid of values (.tif), outlines (.geojson) or a picture (.png).

Where there is no tissue all samples are 0 (white in a picture made of a slide), whether or not the tile around them was
computed; no outline is drawn there, and the preview shows the slide alone. Arrays are (C, H, W).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window as RasterWindow
from scipy import ndimage

from ....core.errors import UserError
from ....core.weights.card import Card
from ...geometry import SlideGeometry
from ..gdal import writing
from ..sink import SpooledSink
from .classes import SlideClass, channels_of, classes_of, kind_of
from .outlines import annotation, areas_of, outlines, regions_of, write_annotations
from .preview import Backdrop, draw_preview

TILE = 256  # pixels
COARSEST = 256  # pixels along the longer side of the last level at most
OUTLINE_GRID = 4096  # pixels along the longer side of the grid on which outlines are drawn, at most
MOST_REGIONS = 100_000
PREVIEW_GRID = 2048
MICROMETRES = 10_000  # of a centimetre
COMPRESSION = {"compress": "DEFLATE", "tiled": True, "blockxsize": TILE, "blockysize": TILE, "bigtiff": "IF_SAFER"}


class SlideSink(SpooledSink):
    """What all outputs for slides share: labels are kept as they are, probabilities as round(255 p), others as float.

    Args:
        path: the file.
        source: the slide, or a grid of its own over one.
        card: says what the outputs are.
        fingerprint: tells the same work again; "" never goes on from an earlier run.

    Raises:
        UserError: the format cannot hold such outputs, or the disk has no room for them.
    """

    def __init__(self, path: str | Path, source: Backdrop, card: Card, fingerprint: str = "") -> None:
        self.source = source
        self.card = card
        self.kind = kind_of(card)
        self.channels = channels_of(card)
        self.classes = classes_of(card) if self.kind in ("labels", "probabilities") else []
        geometry: SlideGeometry = source.geometry.scaled(card.scale)
        wide = card.activation == "argmax" and len(card.outputs or card.channels) > 256
        dtype = np.float32 if self.kind == "values" else np.uint16 if wide else np.uint8
        super().__init__(path, (len(self.channels), *geometry.shape), np.dtype(dtype), geometry, fingerprint)

    @classmethod
    def like(cls, path: str | Path, source: Backdrop, card: Card, fingerprint: str = "") -> SlideSink:
        """Make an output for this slide."""
        return cls(path, source, card, fingerprint)

    def aside(self, window: tuple[slice, ...]) -> np.ndarray:
        """Return where tissue is in a window of the output, bool (h, w)."""
        return self.source.tissue(window, self.card.scale)

    def converted(
        self, values: np.ndarray | None, aside: np.ndarray | None, window: tuple[slice, ...]
    ) -> np.ndarray | None:
        """Return the samples of a window, (C, h, w)."""
        if values is None:
            extent = [part.stop - part.start for part in window]
            return np.full((len(self.channels), *extent), 255, np.uint8) if self.kind == "picture" else None
        if self.kind in ("probabilities", "picture"):
            low, high = (0.0, 1.0) if self.kind == "probabilities" else self.card.value_range
            values = ((values - low) * np.float32(255 / (high - low))).clip(0, 255).round().astype(np.uint8)
        return np.where(aside, values, 255 if self.kind == "picture" else 0)

    def reduced(self, factor: int) -> np.ndarray:
        """Return what is written with one sample for `factor` x `factor`: the mean, or the commonest label.

        Returns:
            (C, h, w), the last row and column of what is left there; of the samples' type for labels, else float32.
        """
        channels, height, width = self.spool.shape
        reduce = _commonest if self.kind == "labels" else _mean
        dtype = self.spool.dtype if self.kind == "labels" else np.float32
        result = np.empty((channels, -(-height // factor), -(-width // factor)), dtype)
        for row in range(result.shape[1]):
            rows = self.spool.rows(row * factor, min((row + 1) * factor, height))
            result[:, row] = reduce(rows, np.arange(0, width, factor))
        return result

    def factor(self, longest: int) -> int:
        """Return the least whole factor by which the longer side has at most this many samples."""
        return -(-max(self.spool.shape[1:]) // longest)


class HeatmapSink(SlideSink):
    """A tiled, pyramidal TIFF of labels, probabilities (value = sample / 255), a picture, or float32 values.

    It has the slide's resolution in its tags, so that viewers lay it over the slide, and the channels' names and
    scaling as GDAL keeps them. Labels of one channel carry their colours.
    """

    def encode(self, part: Path) -> None:
        """Write the file."""
        with writing(part, GDAL_TIFF_INTERNAL_MASK="NO"):
            with rasterio.open(part, "w", **self._profile()) as file:
                self._describe(file)
                for window in _windows(self.spool.shape[1:]):
                    rows, columns = window
                    place = RasterWindow.from_slices(rows, columns)
                    file.write(self.spool.read(window), window=place)
            with rasterio.open(part, "r+") as file:
                file.build_overviews(self._factors(), self._resampling())

    def _profile(self) -> dict[str, object]:
        channels, height, width = self.spool.shape
        profile = {"driver": "GTiff", "count": channels, "height": height, "width": width, "dtype": self.spool.dtype}
        is_float = self.spool.dtype.kind == "f"
        profile |= {"predictor": 3 if is_float else 1 if self.kind == "labels" else 2, **COMPRESSION}
        profile["interleave"] = "PIXEL" if self.kind == "picture" else "BAND"
        profile["photometric"] = "RGB" if self.kind == "picture" else "MINISBLACK"
        if self._has_colours():
            profile["photometric"] = "PALETTE"
        return profile

    def _describe(self, file: rasterio.io.DatasetWriter) -> None:
        per_centimetre = MICROMETRES / self.geometry.mpp
        meaning = {
            "labels": "labels" + "".join(f"; {each.value} {each.name}" for each in self.classes),
            "probabilities": "probabilities, sample / 255",
        }.get(self.kind, self.kind)
        nothing = "" if self.kind == "picture" else "; 0 where there is no tissue"
        file.update_tags(
            TIFFTAG_XRESOLUTION=f"{per_centimetre:.6f}",
            TIFFTAG_YRESOLUTION=f"{per_centimetre:.6f}",
            TIFFTAG_RESOLUTIONUNIT="3",
            TIFFTAG_IMAGEDESCRIPTION=f"{self.card.name}: {meaning}{nothing}",
        )
        file.descriptions = self.channels
        if self.kind == "probabilities":
            file.scales = (1 / 255,) * len(self.channels)
        if self._has_colours():
            file.write_colormap(1, {0: (255, 255, 255)} | {each.value: each.colour for each in self.classes})
        elif self.kind != "picture":
            file.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(self.channels) - 1)

    def _has_colours(self) -> bool:
        return self.kind == "labels" and self.spool.shape[0] == 1 and self.spool.dtype == np.uint8

    def _resampling(self) -> Resampling:
        return Resampling.mode if self.kind == "labels" else Resampling.average

    def _factors(self) -> list[int]:
        longest = max(self.spool.shape[1:])
        return [2**power for power in range(1, max(longest // COARSEST, 1).bit_length() + 1) if longest >> power]


class GeoJsonSink(SlideSink):
    """Outlines of the classes, as annotations that QuPath opens, in pixels of the slide's finest level.

    They are those of labels, or of where a probability is at least one half, on a grid of at most 4096 pixels along a
    side, coarser where there would be more than 100,000 regions. A region's pixels touch by their sides. Each has its
    area, and its mean probability where that is known.
    """

    def __init__(self, path: str | Path, source: Backdrop, card: Card, fingerprint: str = "") -> None:
        if kind_of(card) not in ("labels", "probabilities"):
            raise UserError(
                f"{path}: outlines need labels or probabilities; {card.name} gives neither. End it in .tif or .png."
            )
        super().__init__(path, source, card, fingerprint)

    def encode(self, part: Path) -> None:
        """Write the file."""
        factor = self.factor(OUTLINE_GRID)
        grid = self.reduced(factor)
        while sum(regions_of(self._mask(grid, each))[1] for each in self.classes) > MOST_REGIONS:
            factor *= 2
            grid = self.reduced(factor)
        write_annotations(part, (found for each in self.classes for found in self._found(grid, each, factor)))

    def _mask(self, grid: np.ndarray, each: SlideClass) -> np.ndarray:
        samples = grid[each.channel]
        return samples == each.value if self.kind == "labels" else samples >= 127.5

    def _found(self, grid: np.ndarray, each: SlideClass, factor: int) -> Iterator[dict[str, object]]:
        """Yield the regions of one class."""
        regions, count = regions_of(self._mask(grid, each))
        areas = areas_of(regions, count, (factor * self.geometry.mpp) ** 2)
        means = None
        if self.kind == "probabilities":
            means = ndimage.mean(grid[each.channel], regions, np.arange(count + 1)) / 255
        for region, rings in outlines(regions, factor * self.geometry.downsample, self.geometry.level0_shape):
            measurements = {"Area µm²": round(float(areas[region]), 2)}
            if means is not None:
                measurements["Mean probability"] = round(float(means[region]), 4)
            yield annotation(rings, each.name, each.colour, measurements)


class PreviewSink(SlideSink):
    """A picture of at most 2000 pixels a side: the slide, what was found in colour over its tissue, and a legend.

    Where there is no tissue it shows the slide alone.
    """

    reach = -np.inf  # the scale of values ends no lower

    def encode(self, part: Path) -> None:
        """Write the file."""
        factor = self.factor(PREVIEW_GRID)
        grid = self.reduced(factor)
        if self.kind in ("probabilities", "picture"):
            grid /= 255
        draw_preview(part, self.source, self.card, grid, factor * self.geometry.downsample, self.reach)


def _mean(rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the mean over rows and over the columns from each start to the next, (C, r, W) -> (C, w)."""
    counts = np.diff(np.append(starts, rows.shape[2])) * rows.shape[1]
    return np.add.reduceat(rows.sum(axis=1, dtype=np.float64), starts, axis=1) / counts


def _commonest(rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the label that most samples have, the lowest of equals, (C, r, W) -> (C, w)."""
    result = np.zeros((len(rows), len(starts)), rows.dtype)
    most = np.zeros(result.shape, np.int64)
    for label in np.unique(rows):
        count = np.add.reduceat((rows == label).sum(axis=1), starts, axis=1)
        result[count > most] = label
        most = np.maximum(most, count)
    return result


def _windows(size: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Yield windows of one row of whole tiles each, or a part of it."""
    height, width = size
    for top in range(0, height, TILE):
        for left in range(0, width, 16 * TILE):
            yield slice(top, min(top + TILE, height)), slice(left, min(left + 16 * TILE, width))
