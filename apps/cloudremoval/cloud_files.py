"""Cloud masks that somebody else made: one raster file for each date, 1 where there is cloud."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from ...core.errors import UserError
from ...core.inference.streams import Window
from ...data.io.geotiff import GeoTiffSource
from ...data.io.geotiff.dates import in_order, raster_files
from ...data.io.geotiff.raster import CACHE, Raster


class CloudFiles:
    """The masks of the dates of a source.

    A date's mask has the name of its file, or else is the only one of its day. The first band is read: 1 where there is
    cloud, 0 where there is none, and no data where that is not known, which counts as cloud. Other masks are let be.

    Args:
        paths: a folder, or files.
        source: the dates.
        warp: resample masks that lie on another grid, bilinearly; half a cloud is one.

    Raises:
        UserError: a date has no mask or several, or a mask lies on another grid or is damaged.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path], source: GeoTiffSource, warp: bool = False) -> None:
        self.rasters: list[Raster] = []
        try:
            for path in _matched(raster_files(paths)[0], source):
                self.rasters.append(_opened(path, source, warp))
        except BaseException:
            self.close()
            raise
        for raster in self.rasters:
            raster.cache = CACHE // len(self.rasters)

    def read(self, window: Window) -> np.ndarray:
        """Return where there is cloud, bool (T, h, w).

        Raises:
            UserError: a file is damaged there, or holds other numbers than 0 and 1.
        """
        return np.stack([_read(raster, window) for raster in self.rasters])

    def keep(self, dates: Sequence[int]) -> None:
        """Close all files but those of some dates, told by index."""
        for number, raster in enumerate(self.rasters):
            if number not in dates:
                raster.close()
        self.rasters = [self.rasters[index] for index in dates]

    def close(self) -> None:
        """Close the files."""
        for raster in self.rasters:
            raster.close()


def _matched(files: Sequence[Path], source: GeoTiffSource) -> list[Path]:
    """Return the mask of each date."""
    days = _days(files)
    found = []
    for number, raster in enumerate(source.rasters):
        own = [file for file in files if file.stem == raster.path.stem]
        if not own and source.dates:
            wanted = source.dates[number].date()
            own = [file for file, day in zip(files, days, strict=True) if day == wanted]
        if len(own) != 1:
            what = "no mask" if not own else f"{len(own)} masks ({', '.join(file.name for file in own)})"
            raise UserError(
                f"--masks {files[0].parent}: has {what} for {raster.path.name}; give one of the same name or date."
            )
        found += own
    return found


def _days(files: Sequence[Path]) -> list[date | None]:
    """Return the day of each file; None where not all tell one."""
    tags = []
    for file in files:
        raster = Raster(file, [1])
        tags.append({**raster.acquisition, **raster.tags})
        raster.close()
    order, dates = in_order(files, tags)
    days: list[date | None] = [None] * len(files)
    for index, when in zip(order, dates, strict=False):  # no dates where not all tell one
        days[index] = when.date()
    return days


def _opened(path: Path, source: GeoTiffSource, warp: bool) -> Raster:
    raster = Raster(path, [1])
    difference = source.geometry.difference(raster.geometry)
    if not difference:
        return raster
    raster.close()
    if not warp:
        raise UserError(
            f"{path}: lies on another grid than {source.first.path.name}: {difference}. Give --warp to resample it, or "
            "resample it with gdalwarp first."
        )
    return Raster(path, [1], source.geometry, warp=True)


def _read(raster: Raster, window: Window) -> np.ndarray:
    """Return where a mask has cloud, bool (h, w)."""
    values, valid = raster.values(window)
    if values.min() < 0 or values.max() > 1:
        wrong = values.max() if values.max() > 1 else values.min()
        raise UserError(f"{raster.path}: holds {wrong:g}; a mask has 1 where there is cloud, and else 0.")
    is_cloud = values[0] >= 0.5
    return is_cloud if valid is None or raster.nodata == 0 else is_cloud | ~valid[0]
