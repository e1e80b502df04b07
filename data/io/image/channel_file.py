"""TIFF files of more channels than an image has, such as one probability for each of many classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil

from ....core.errors import UserError
from ....core.weights.card import Card
from ..formats import TIFF_SUFFIXES
from ..gdal import writing
from ..sink import SpooledSink

OPTIONS = {"COMPRESS": "DEFLATE", "PREDICTOR": "3", "TILED": "YES", "BIGTIFF": "IF_SAFER", "PHOTOMETRIC": "MINISBLACK"}


class ChannelsSink(SpooledSink):
    """A TIFF file of float32 channels, which it names, written window by window.

    Args:
        path: the file.
        size: (H, W) in pixels.
        card: of the program.
        fingerprint: tells the same work again; "" never goes on from an earlier run.

    Raises:
        UserError: the name does not end in .tif or .tiff; the disk has no room; another run writes it now.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], card: Card, fingerprint: str = "") -> None:
        self.names = card.outputs or card.channels
        if Path(path).suffix.lower() not in TIFF_SUFFIXES:
            raise UserError(
                f"{path}: an image holds 1 or 3 channels; the network makes {len(self.names)}. End the name in .tif."
            )
        super().__init__(path, (len(self.names), *size), np.dtype(np.float32), fingerprint=fingerprint)

    def converted(
        self, values: np.ndarray | None, aside: np.ndarray | None, window: tuple[slice, ...]
    ) -> np.ndarray | None:
        """Return the values of a window as they are."""
        return values

    def encode(self, part: Path) -> None:
        """Write the file."""
        with (
            writing(part, GDAL_DISABLE_READDIR_ON_OPEN="TRUE"),
            self.spool.raster() as raw,
            rasterio.open(raw, "r+", driver="ENVI") as dataset,
        ):
            for number, name in enumerate(self.names, start=1):
                dataset.set_band_description(number, name)
            rasterio.shutil.copy(dataset, part, driver="GTiff", **OPTIONS)
