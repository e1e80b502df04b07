"""The contexts in which GDAL is called."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from ...core.errors import unwritten

FAULTS = (RasterioError, rasterio._err.CPLE_BaseError, SystemError)  # what reading or writing may raise
CACHE = 16 << 20  # bytes of decoded blocks that GDAL keeps


def gdal(**options: str) -> rasterio.Env:
    """Return the context for calls of GDAL: a small cache, no side files, nothing read but the file itself."""
    return rasterio.Env(
        GDAL_CACHEMAX=CACHE,
        GDAL_PAM_ENABLED="NO",
        # Reading a whole PNG at once takes another decoder, which gives noise and no error for a file cut short.
        GDAL_PNG_WHOLE_IMAGE_OPTIM="NO",
        GDAL_ERROR_ON_LIBJPEG_WARNING="YES",  # else what cannot be decoded is grey
        **{"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", **options},
    )


@contextmanager
def writing(path: Path, **options: str) -> Iterator[None]:
    """Give the context for writing a file, which may lie nowhere on the earth.

    Raises:
        OSError: the file cannot be written, for instance because the disk is full.
    """
    with gdal(**options), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            yield
        except FAULTS as error:
            raise unwritten(path, error) from None
