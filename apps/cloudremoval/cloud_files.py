"""Cloud masks that somebody else made: one raster file for each date, 1 or 255 where there is cloud."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.errors import UserError
from ...core.inference.streams import Window
from ...data.datasets.cloud_masks import clouds_in, masks_of
from ...data.io.geotiff import GeoTiffSource
from ...data.io.geotiff.dates import raster_files
from ...data.io.geotiff.raster import CACHE, Raster


class CloudFiles:
    """The masks of the dates of a source, see `masks_of` and `clouds_in`.

    Args:
        paths: a folder, or files.
        source: the dates.
        warp: resample masks that lie on another grid, to the nearest.

    Raises:
        UserError: a date has no mask or several, or a mask lies on another grid or is damaged.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path], source: GeoTiffSource, warp: bool = False) -> None:
        self.rasters: list[Raster] = []
        images = [raster.path for raster in source.rasters]
        try:
            for path in masks_of(images, source.dates, raster_files(paths)[0]):
                self.rasters.append(_opened(path, source, warp))
        except BaseException:
            self.close()
            raise
        for raster in self.rasters:
            raster.cache = CACHE // len(self.rasters)

    def read(self, window: Window) -> np.ndarray:
        """Return where there is cloud, bool (T, h, w).

        Raises:
            UserError: a file is damaged there, or is no mask.
        """
        return np.stack([clouds_in(raster, window) for raster in self.rasters])

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
    return Raster(path, [1], source.geometry, warp=True, nearest=True)
