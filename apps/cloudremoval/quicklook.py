"""A picture of what was done: the dates, and the place before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...core.atomic import written_beside
from ...core.inference.streams import Carry, Geometry, Window
from ...core.weights.card import Card
from ...data.io.geotiff import GeoTiffSink
from .cloudy_series import CloudySeries

PANEL, SMALLEST = 640, 256  # pixels along the longer side of a panel, at most and about at least
GAP = 8  # pixels between panels
TITLE = 22  # pixels above each
PERCENTILES = (1, 99)  # of the cloud-free image, shown black and white
BACKGROUND, TEXT, ABSENT = 255, 0, 200
COLOURS = ("red", "green", "blue")


class QuickLook:
    """A PNG with the dates in the first row, and below the least cloudy one and the cloud-free image.

    All panels are stretched alike, each colour from the 1st to the 99th percentile of it in the cloud-free image; what
    has no data is grey. The picture is drawn of the finished samples of the image, so that a run that goes on needs
    nothing of it from the one before.

    Args:
        path: the file.
        image: the sink of the cloud-free image, which is made ready before this one.
        series: the dates, still open when the picture is drawn.
        card: of the network: its channels, and which of them are its outputs.
        best: the least cloudy date.
        titles: of the dates.
    """

    def __init__(
        self, path: Path, image: GeoTiffSink, series: CloudySeries, card: Card, best: int, titles: Sequence[str]
    ) -> None:
        self.path = path
        self.image = image
        self.series = series
        self.best = best
        self.titles = titles
        outputs = card.outputs or card.channels
        shown = COLOURS if set(COLOURS) <= set(outputs) else outputs[:1] * 3
        self.of_image = [outputs.index(name) for name in shown]
        self.of_dates = [card.channels.index(name) for name in shown]

    @property
    def geometry(self) -> Geometry | None:
        """Where the image lies."""
        return self.image.geometry

    @property
    def rows_done(self) -> int:
        """Rows of the image."""
        return self.image.rows_done

    @property
    def carry(self) -> Carry:
        """What the rows after these begin with."""
        return self.image.carry

    def aside(self, window: Window) -> None:
        """Return nothing: what is shown is read at the end."""

    def write(self, window: Window, values: np.ndarray | None, aside: None) -> None:
        """Store nothing."""

    def finish(self, rows: int, carry: Carry) -> None:
        """Note nothing."""

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Draw the picture; it appears when the block ends without an error."""
        with written_beside(self.path) as part:
            self._drawn().save(part)
            yield

    def _drawn(self) -> Image.Image:
        dates, image = self._small()
        seen = image[:, ~np.isnan(image).any(axis=0)]
        low, high = np.percentile(seen, PERCENTILES, axis=1) if seen.size else np.array([[0.0], [1.0]])
        panels = [*zip(self.titles, dates, strict=True)]
        panels += [(f"before: {self.titles[self.best]}", dates[self.best]), ("after", image)]
        larger = max(1, SMALLEST // max(image.shape[1:]))
        pictures = [_stretched(values, low, high).repeat(larger, 0).repeat(larger, 1) for _, values in panels]
        return arranged([title for title, _ in panels], pictures, len(dates))

    def _small(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the dates (T, 3, h, w) and the image (3, h, w), means of squares of pixels, NaN without data."""
        height, width = self.series.shape[-2:]
        step = -(-max(height, width) // PANEL)
        dates, image = [], []
        for top in range(0, height, step):
            window = (slice(top, min(top + step, height)), slice(0, width))
            values = self.series.source.read(window)[:, self.of_dates]
            valid = self.series.source.valid_by_date(window)
            dates.append(_mean(np.where(valid[:, None], values, np.nan), step))
            made = _values(self.image, window)[self.of_image]
            image.append(_mean(np.where(valid.any(axis=0), made, np.nan), step))
        return np.concatenate(dates, axis=-2), np.concatenate(image, axis=-2)


def arranged(titles: Sequence[str], pictures: Sequence[np.ndarray], columns: int) -> Image.Image:
    """Return pictures (h, w, 3) of one size with their titles, side by side in rows of so many."""
    height, width = pictures[0].shape[:2]
    columns = max(columns, 2)
    rows = -(-len(pictures) // columns)
    across, down = width + GAP, height + TITLE + GAP
    sheet = Image.new("RGB", (columns * across + GAP, rows * down + GAP), (BACKGROUND,) * 3)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for number, (title, picture) in enumerate(zip(titles, pictures, strict=True)):
        left, top = GAP + number % columns * across, GAP + number // columns * down
        draw.text((left, top), _fitting(title, width, font), fill=(TEXT,) * 3, font=font)
        sheet.paste(Image.fromarray(picture), (left, top + TITLE))
    return sheet


def _values(image: GeoTiffSink, window: Window) -> np.ndarray:
    """Return the physical values of finished samples, float32 (C, h, w)."""
    description = image.description
    values = image.spool.read(window)[: len(description.names)].astype(np.float32)
    scales = np.array(description.scales or (1,), np.float32)[:, None, None]
    return values * scales + np.array(description.offsets or (0,), np.float32)[:, None, None]


def _fitting(title: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """Return as much of a title as there is room for."""
    while title and font.getlength(title) > width:
        title = title[:-1]
    return title


def _mean(values: np.ndarray, step: int) -> np.ndarray:
    """Return the means of a row of squares of pixels, (..., h, W) -> (..., 1, w); NaN where none counts."""
    width = values.shape[-1]
    values = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, -width % step)], constant_values=np.nan)
    squares = values.reshape(*values.shape[:-1], -1, step)
    counts = ~np.isnan(squares)
    number = counts.sum(axis=(-3, -1))
    total = np.where(counts, squares, 0).sum(axis=(-3, -1))
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)[..., None, :]


def _stretched(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return values (3, h, w), each colour between two of its own, as uint8 (h, w, 3)."""
    values = values.transpose(1, 2, 0)
    shown = np.clip((values - low) / np.maximum(high - low, 1e-6), 0, 1) * 255
    return np.where(np.isnan(values), ABSENT, np.nan_to_num(shown)).round().astype(np.uint8)
