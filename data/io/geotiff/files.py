"""GeoTIFF: rasters of any size, bands and number type, one or many dates of a place, with CRS, transform and nodata.

Arrays are (C, H, W), and (T, C, H, W) for many dates. Values are physical: stored sample * scale + offset. What counts
for nothing - nodata, NaN, masked, transparent, or never written - is read as 0 and written as nodata again. Whole
numbers beyond 2^24 lose their last bits, as programs compute in float32.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from ....core.errors import UserError
from ....core.weights.card import Unit
from .band_names import Bands, names_of
from .dates import in_order, raster_files
from .raster import CACHE, Raster, Window
from .units import read_as_reflectance

logger = logging.getLogger(__name__)


class GeoTiffSource:
    """A raster file, or many dates of one place, read in windows as float32.

    Windows are read from top to bottom. Decoded rows of wide files are kept in a temporary file (in TMPDIR), so that
    memory does not grow with the width.

    Args:
        paths: a TIFF file; or a folder or a list of files, one for each date, all on one grid. Dates are sorted.
        bands: which bands to read, in this order: numbers from 1, or descriptions; None for all but alpha.
        warp: resample files that lie on another grid than the first onto that one, bilinearly; and a file that is
            located by ground control points onto a grid in their CRS.
        quantification: stored numbers for a reflectance of one, where a file does not tell; see `units`.
        offset: what is added to stored numbers before that, where a file does not tell.
        unit: "reflectance" for values that are reflectance; "" for those that the file gives.
        channels: where no `bands` are chosen, what the bands shall show, such as "red" or "nir": they are found by
            their descriptions. () for all bands.

    Attributes:
        path: the file, the folder, or the first of the list.
        shape: (C, H, W), or (T, C, H, W) for a folder or a list.
        dtype: of the stored samples.
        geometry: where the pixels lie; CRS None and the identity where the file does not say.
        channels: descriptions of the bands; () where any has none.
        dates: of the files in order; () for a single file, or where names and tags do not tell.

    Raises:
        UserError: a file is missing, damaged, no raster of numbers, or has no such band; or files differ in their grid,
            bands or number type; or it is not known how stored numbers become reflectance.
    """

    spatial = 2

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        bands: Bands | None = None,
        warp: bool = False,
        quantification: float | None = None,
        offset: float | None = None,
        unit: Unit = "",
        channels: Sequence[str] = (),
    ) -> None:
        files, self.is_series = raster_files(paths)
        self.path = Path(paths) if isinstance(paths, (str, Path)) else files[0]
        self.rasters: list[Raster] = []
        try:
            self.rasters += (Raster(file, bands, channels=channels) for file in files)
            order, self.dates = in_order(files, [{**raster.acquisition, **raster.tags} for raster in self.rasters])
            self.rasters = [self.rasters[index] for index in order]
            self._align(bands, warp, channels)
            if unit:
                read_as_reflectance(self.rasters, self.dates, quantification, offset)
        except BaseException:
            self.close()
            raise
        first = self.first
        self.dates: tuple[datetime, ...] = self.dates if self.is_series else ()
        self.dtype, self.geometry = first.dtype, first.geometry
        self.channels = first.names if all(first.names) else ()
        dates = (len(self.rasters),) if self.is_series else ()
        self.shape = (*dates, len(first.bands), *self.geometry.shape)
        for raster in self.rasters:
            raster.cache = CACHE // len(self.rasters)
        self._last: tuple[Window, np.ndarray, list[np.ndarray | None]] | None = None
        self._warn(bands, channels)
        if not unit and (quantification, offset) != (None, None):
            logger.warning("--quantification and --offset have no effect: values are taken as %s has them.", self.path)

    @property
    def first(self) -> Raster:
        """The file whose grid all have."""
        return self.rasters[0]

    @property
    def conventions(self) -> tuple[str, ...]:
        """Say of each file how its stored numbers become values, and what tells so."""
        return tuple(raster.convention for raster in self.rasters)

    @property
    def may_have_invalid(self) -> bool:
        """Tell whether any pixel may count for nothing, as far as the headers say."""
        return all(raster.may_have_invalid for raster in self.rasters)

    def read(self, window: Window) -> np.ndarray:
        """Return a window, physical values, float32 (C, h, w) or (T, C, h, w); 0 where they count for nothing.

        Raises:
            UserError: a file is damaged there.
        """
        values, _ = self._window(window)
        return values if self.is_series else values[0]

    def valid_by_date(self, window: Window) -> np.ndarray:
        """Return which pixels of a window count on each date, in all bands: bool (T, h, w).

        Raises:
            UserError: a file is damaged there.
        """
        extent = tuple(each.stop - each.start for each in window)
        valid = np.ones((len(self.rasters), *extent), bool)
        if not any(raster.may_have_invalid for raster in self.rasters):
            return valid
        for date, each in zip(valid, self._window(window)[1], strict=True):
            if each is not None:
                each.all(axis=0, out=date)
        return valid

    def keep(self, dates: Sequence[int]) -> None:
        """Close all files but those of some dates, told by index; these are the dates from now on, in this order."""
        for number, raster in enumerate(self.rasters):
            if number not in dates:
                raster.close()
        self.rasters = [self.rasters[index] for index in dates]
        self.dates = tuple(self.dates[index] for index in dates) if self.dates else ()
        self.shape = (len(dates), *self.shape[1:])
        self._last = None

    def valid(self, window: Window) -> np.ndarray:
        """Return which pixels of a window count, on any date: bool (C, h, w), or (h, w) if the same for all bands.

        Raises:
            UserError: a file is damaged there.
        """
        extent = tuple(each.stop - each.start for each in window)
        if not self.may_have_invalid:
            return np.ones(extent, bool)
        if not any(raster.is_stored(window) for raster in self.rasters):
            return np.zeros(extent, bool)
        each = self._window(window)[1]
        if any(valid is None for valid in each):
            return np.ones(extent, bool)
        valid = np.logical_or.reduce(np.broadcast_arrays(*each))
        return valid[0] if len(valid) == 1 else valid

    def is_empty(self, window: Window) -> bool:
        """Tell whether no pixel of a window counts on any date.

        Raises:
            UserError: a file is damaged there.
        """
        return self.may_have_invalid and not self.valid(window).any()

    def close(self) -> None:
        """Close the files."""
        for raster in self.rasters:
            raster.close()

    def __enter__(self) -> GeoTiffSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _align(self, bands: Bands | None, warp: bool, channels: Sequence[str]) -> None:
        """Refuse rasters that do not fit the first one, or resample them onto its grid."""
        if self.first.has_points:
            self._replace(0, bands, warp, channels, "is located by ground control points only")
        for number, raster in enumerate(self.rasters):
            first = self.first
            if (len(raster.bands), raster.dtype) != (len(first.bands), first.dtype):
                raise UserError(
                    f"{raster.path}: has {len(raster.bands)} bands of {raster.dtype}, {first.path.name} has "
                    f"{len(first.bands)} of {first.dtype}; choose the bands with --bands, or convert the file."
                )
            difference = first.geometry.difference(raster.geometry)
            if number and (difference or raster.has_points):
                what = difference or "it is located by ground control points only"
                self._replace(number, bands, warp, channels, f"lies on another grid than {first.path.name}: {what}")

    def _replace(self, number: int, bands: Bands | None, warp: bool, channels: Sequence[str], why: str) -> None:
        raster = self.rasters[number]
        if not warp:
            raise UserError(f"{raster.path}: {why}. Give --warp to resample it, or resample it with gdalwarp first.")
        grid = self.first.geometry if number else None
        self.rasters[number] = Raster(raster.path, bands, grid, warp=True, channels=channels)
        raster.close()

    def _warn(self, bands: Bands | None, channels: Sequence[str]) -> None:
        if channels and bands is None and not any(names_of(self.first.file)):
            logger.warning("%s: its bands do not say what they show; taken as %s.", self.path, ", ".join(channels))
        if self.geometry.crs is None:
            logger.warning("%s: names no CRS; neither will what is written from it.", self.first.path)

    def _window(self, window: Window) -> tuple[np.ndarray, list[np.ndarray | None]]:
        """Return values (T, C, h, w), and what is valid on each date, (C, h, w) or (1, h, w), or None for all.

        The window read last is kept, as its parts are asked for again.
        """
        if self._last is None or not _contains(self._last[0], window):
            parts = [raster.values(window) for raster in self.rasters]
            values = np.stack([values for values, _ in parts]) if len(parts) > 1 else parts[0][0][None]
            self._last = window, values, [valid for _, valid in parts]
        last, values, valid = self._last
        part = tuple(slice(new.start - old.start, new.stop - old.start) for new, old in zip(window, last, strict=True))
        return values[..., *part], [None if each is None else each[..., *part] for each in valid]


def _contains(outer: Window, inner: Window) -> bool:
    return all(a.start <= b.start and b.stop <= a.stop for a, b in zip(outer, inner, strict=True))
