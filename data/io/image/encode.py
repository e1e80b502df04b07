"""Writing PNG, JPEG, TIFF and BMP files out of finished rows, in bounded memory."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError

from ....core.errors import UserError
from ..gdal import writing
from ..spool import Spool
from .jpeg import LARGEST_SIDE, write_jpeg

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "GTiff", ".tiff": "GTiff", ".bmp": "BMP"}
FORMATS = {"PNG": "PNG", "JPEG": "JPEG", "GTiff": "TIFF", "BMP": "BMP"}
GREY, GREY_ALPHA, RGB, RGB_ALPHA = 1, 2, 3, 4
BAND = 64  # rows read back at a time
OPTIONS = {
    "PNG": {},
    "BMP": {},
    "GTiff": {"COMPRESS": "DEFLATE", "PREDICTOR": "2", "TILED": "YES", "BIGTIFF": "IF_SAFER"},
}


def check_format(path: Path, shape: tuple[int, int, int], dtype: np.dtype) -> None:
    """Refuse a file whose format, told by the suffix, cannot hold such an image.

    Args:
        path: the file to be written.
        shape: (C, H, W); with 2 or 4 channels the last is alpha.
        dtype: of the pixels.

    Raises:
        UserError: the suffix is unknown, or alpha, the depth or the size do not fit.
    """
    driver = SUFFIXES.get(path.suffix.lower())
    if driver is None:
        raise UserError(f"{path}: no format is known for this name; end it in one of {', '.join(SUFFIXES)}.")
    what = None
    if driver in ("JPEG", "BMP") and shape[0] in (GREY_ALPHA, RGB_ALPHA):
        what = "an alpha channel"
    elif driver in ("JPEG", "BMP") and np.dtype(dtype) != np.uint8:
        what = "16 bits per channel"
    elif driver == "JPEG" and max(shape[1:]) > LARGEST_SIDE:
        what = f"{shape[2]} x {shape[1]} pixels"
    if what:
        raise UserError(f"{path}: {FORMATS[driver]} cannot hold {what}; write a .png or .tif file instead.")


def encode(spool: Spool, path: Path, icc_profile: bytes | None) -> None:
    """Write complete samples as an image file.

    Raises:
        OSError: the file cannot be written, for instance because the disk is full.
    """
    driver = SUFFIXES[path.suffix.lower()]
    if driver == "JPEG":
        write_jpeg(path, lambda start, stop: spool.rows(start, stop).transpose(1, 2, 0), spool.shape[1], icc_profile)
    else:
        _copy(spool, path, driver, icc_profile)


def _copy(spool: Spool, path: Path, driver: str, icc_profile: bytes | None) -> None:
    """Let GDAL stream the samples into another format."""
    options = dict(OPTIONS[driver])
    if driver == "GTiff":
        options["PHOTOMETRIC"] = "RGB" if spool.shape[0] in (RGB, RGB_ALPHA) else "MINISBLACK"
        options["ALPHA"] = "NON-PREMULTIPLIED" if spool.shape[0] in (GREY_ALPHA, RGB_ALPHA) else "NO"
    with writing(path, GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
        # Opened for update because the profile can be handed over only as the data set's own.
        with spool.raster() as raw, rasterio.open(raw, "r+", driver="ENVI") as dataset:
            if icc_profile:
                dataset.update_tags(ns="COLOR_PROFILE", SOURCE_ICC_PROFILE=base64.b64encode(icc_profile).decode())
            rasterio.shutil.copy(dataset, path, driver=driver, **options)
        _verify(spool, path, driver)


def _verify(spool: Spool, path: Path, driver: str) -> None:
    """Read the file back: GDAL does not tell what fails while a file is closed.

    Raises:
        RasterioError: the file does not hold the samples.
    """
    with rasterio.open(path, driver=driver) as file:
        for top in range(0, file.height, BAND):
            stop = min(top + BAND, file.height)
            if not np.array_equal(file.read(window=((top, stop), (0, file.width))), spool.rows(top, stop)):
                raise RasterioError("other pixels are read than were written")
