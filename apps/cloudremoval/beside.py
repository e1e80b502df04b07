"""The files that stand beside a cloud-free image: the clouds of each date, and how far each pixel is to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core.inference.streams import Window
from ...data.io.geotiff import GeoTiffSink
from ...data.io.geotiff.encode import Description
from .cloudy_series import CloudySeries
from .program import CONFIDENCE
from .selection import told

CLOUDS_ABSENT = 255


class ConfidenceSink(GeoTiffSink):
    """A float32 raster of `CONFIDENCE`: NaN where nothing counts, and for the distance also where no date is clear."""

    def __init__(self, path: Path, series: CloudySeries, fingerprint: str = "", cog: bool = False) -> None:
        description = Description(
            dtype=np.dtype(np.float32),
            names=CONFIDENCE,
            fill=np.nan,
            nodata=np.nan,
            units=("", "reflectance", "reflectance", ""),
        )
        shape = (len(CONFIDENCE), *series.shape[-2:])
        super().__init__(path, shape, description, series.geometry, series.source, 1, fingerprint, cog)

    def converted(self, values: np.ndarray | None, aside: np.ndarray | None, window: Window) -> np.ndarray | None:
        """Return the samples of a window as they are stored."""
        if values is not None:
            confidence, disagreement, distance, clear = values
            clear = np.rint(clear)  # a whole number but for the rounding of blended tiles
            distance = np.where(clear > 0, distance, np.nan)
            values = np.stack([np.clip(confidence, 0, 1), disagreement, distance, clear])
        return super().converted(values, aside, window)


def open_clouds(
    path: Path, series: CloudySeries, cover: Sequence[float], fingerprint: str = "", cog: bool = False
) -> GeoTiffSink:
    """Return the sink for the clouds of each date: a band for each, 1 on cloud and where the date has no data, else 0.

    Where no date has data stands 255, which is declared as nodata. Bands are described by their dates, or by the names
    of files where these tell none, and each has its cover and file as tags.

    Args:
        path: the file.
        series: the dates.
        cover: of each, the fraction that is cloud or without data.
        fingerprint: tells the same work again; "" never goes on from an earlier run.
        cog: write a cloud-optimised file.
    """
    files = [each.name for each in series.files]
    description = Description(
        dtype=np.dtype(np.uint8),
        names=tuple(names_of(series)),
        fill=CLOUDS_ABSENT,
        nodata=CLOUDS_ABSENT if series.source.may_have_invalid else None,
        band_tags=tuple({"FILE": name, "CLOUD_COVER": f"{each:.4f}"} for name, each in zip(files, cover, strict=True)),
    )
    shape = (len(files), *series.shape[-2:])
    return GeoTiffSink(path, shape, description, series.geometry, series.source, 1, fingerprint, cog)


def tell_dates(sink: GeoTiffSink, names: Sequence[str], cover: Sequence[float]) -> None:
    """Let a file say in its tag CLOUD_FREE_FROM from which dates it was made, and how cloudy each was."""
    tags = {**sink.description.tags, "CLOUD_FREE_FROM": told(names, cover)}
    sink.description = replace(sink.description, tags=tags)


def names_of(series: CloudySeries) -> list[str]:
    """Return what people call the dates of a series."""
    return [f"{date:%Y-%m-%d}" for date in series.dates] or [each.stem for each in series.files]
