"""The dates of a place with their clouds, as what the engine reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import torch

from ...core.errors import UserError
from ...core.inference.streams import Window
from ...data.io.geotiff import GeoTiffSource
from .cloud_files import CloudFiles
from .clouds import REACH, cloud_mask

COUNTED = 256  # pixels along a side of the windows in which clouds are counted, of all dates


class CloudySeries:
    """Many dates of a place, and what is cloud on each: a source of (T, bands + 1, H, W).

    The last channel is 1 where a pixel of that date is cloud or does not count, such as one without data, and else 0.
    The series owns the source: closing it closes the files.

    Args:
        source: the dates. Without masks, reflectance in the bands red, green, blue and near infrared.
        masks: a folder of masks, or their files; None for `cloud_mask`.
        warp: resample masks that lie on another grid.

    Attributes:
        source: the dates.
        shape: (T, bands + 1, H, W).
        geometry: where the pixels lie.
        dates: when they are, in order; () where names and tags do not tell.

    Raises:
        UserError: the source is a single image, a date has no mask, or there are no masks and other than four bands.
    """

    spatial = 2

    def __init__(
        self, source: GeoTiffSource, masks: str | Path | Sequence[str | Path] | None = None, warp: bool = False
    ) -> None:
        if not source.is_series:
            raise UserError(f"{source.path}: is a single raster; give a folder with one file for each date.")
        if masks is None and source.shape[1] != 4:
            raise UserError(
                f"{source.path}: has {source.shape[1]} bands, clouds are told by red, green, blue and near infrared; "
                "choose these with --bands, or give --masks."
            )
        self.source = source
        self.geometry = source.geometry
        self.masks = None if masks is None else CloudFiles(masks, source, warp)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, bands + 1, H, W)."""
        dates, bands, height, width = self.source.shape
        return dates, bands + 1, height, width

    @property
    def dates(self) -> tuple[datetime, ...]:
        """When the dates are."""
        return self.source.dates

    @property
    def files(self) -> list[Path]:
        """The file of each date."""
        return [raster.path for raster in self.source.rasters]

    def read(self, window: Window) -> np.ndarray:
        """Return a window of all dates with their clouds, float32 (T, bands + 1, h, w)."""
        clouds = self.clouds(window)  # reads the pixels around too, so that the window itself is not read again
        return np.concatenate([self.source.read(window), clouds[:, None]], axis=1)

    def clouds(self, window: Window) -> np.ndarray:
        """Return which pixels of a window are cloud or do not count on each date, bool (T, h, w)."""
        if self.masks:
            found = self.masks.read(window)
        else:
            around, inner = _with_context(window, self.shape[-2:])
            found = _coloured(self.source.read(around))[..., *inner]
        return found | ~self.source.valid_by_date(window)

    def is_empty(self, window: Window) -> bool:
        """Tell whether no pixel of a window counts on any date."""
        return self.source.is_empty(window)

    @property
    def cover(self) -> list[float]:
        """Of each date, the fraction of the scene that is cloud or without data, 0..1.

        Pixels that count on no date are outside the scene. Everything is read once, when this is first asked for.
        """
        clouds, _, inside = self._counted
        return [float(each) / max(inside, 1) for each in clouds]

    @property
    def never_clear(self) -> float:
        """The fraction of the scene that is clear on no date, 0..1; read as `cover` is."""
        _, never, inside = self._counted
        return never / max(inside, 1)

    def keep(self, dates: Sequence[int]) -> None:
        """Close all files but those of some dates, told by index; these are the dates from now on, in this order."""
        self.source.keep(dates)
        if self.masks:
            self.masks.keep(dates)
        self.__dict__.pop("_counted", None)

    def close(self) -> None:
        """Close the files."""
        self.source.close()
        if self.masks:
            self.masks.close()

    def __enter__(self) -> CloudySeries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def _counted(self) -> tuple[np.ndarray, int, int]:
        """Return the pixels inside the scene that are cloud on each date, that are on all, and that there are."""
        clouds, never, inside = np.zeros(self.shape[0], np.int64), 0, 0
        for window in _windows(self.shape[-2:]):
            if self.is_empty(window):
                continue
            found = self.clouds(window)
            scene = np.atleast_3d(self.source.valid(window).T).T.any(axis=0)
            clouds += (found & scene).sum(axis=(1, 2))
            never += int((found.all(axis=0) & scene).sum())
            inside += int(scene.sum())
        return clouds, never, inside


def _coloured(values: np.ndarray) -> np.ndarray:
    """Return the clouds of each date by its colours, one by one for the memory's sake, bool (T, h, w)."""
    return np.stack([cloud_mask(torch.from_numpy(date))[0].numpy() for date in values])


def _with_context(window: Window, extent: tuple[int, int]) -> tuple[Window, Window]:
    """Return a window with the pixels around it that decide on its clouds, and where it lies in that."""
    around = tuple(
        slice(max(each.start - REACH, 0), min(each.stop + REACH, size))
        for each, size in zip(window, extent, strict=True)
    )
    inner = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(window, around, strict=True))
    return around, tuple(inner)


def _windows(extent: tuple[int, int]) -> Iterator[Window]:
    """Yield windows that cover an extent, from top to bottom."""
    starts = product(*(range(0, size, COUNTED) for size in extent))
    for place in starts:
        yield tuple(slice(start, min(start + COUNTED, size)) for start, size in zip(place, extent, strict=True))
