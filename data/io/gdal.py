"""The context in which GDAL is called."""

from __future__ import annotations

import rasterio

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
