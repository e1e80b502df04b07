"""Writing GeoTIFF files out of finished samples, block by block in bounded memory, the same bytes each time."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from ....core.errors import UserError, unwritten
from ....core.weights.label import Label
from ...geometry import RasterGeometry
from ..gdal import FAULTS
from ..spool import Spool
from ..tiff_layout import read_layout
from .raster import MEGABYTE, Window, gdal

BLOCK = 512  # pixels along a side of a tile, or less where there are many bands
MOST_BLOCK_BYTES = 8 * MEGABYTE
CHUNK_BYTES = 16 * MEGABYTE  # read from the spool at a time
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
STALE = ("STATISTICS_", "OVR_", "TIFFTAG_SOFTWARE", "TIFFTAG_MINSAMPLE", "TIFFTAG_MAXSAMPLE", "NODATA_VALUES", "LAYOUT")
PER_PIXEL = ("TIFFTAG_XRES", "TIFFTAG_YRES", "TIFFTAG_RESOLUTIONUNIT")
"""Tags that no longer hold for what was computed, and those that do not for other pixels than the source's."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a raster file says about itself, beside where it lies.

    Attributes:
        dtype: of the stored samples.
        names: descriptions of the bands.
        fill: what is stored where a pixel counts for nothing.
        nodata: the declared value that stands for none. For label maps it is declared where a pixel has `fill`.
        bands: the source's bands, counted from 0, that these are; () where they are something else.
        has_mask: which pixels count is stored as a mask, the last channel of the spool.
        is_sparse: blocks where no pixel counts are left out.
        scales, offsets, units: of each band, as in the source; () for 1, 0 and none.
        has_scales: the file says what the scales and offsets are.
        band_tags, colours: of each band, as in the source.
        palette: colour table of the first band.
        is_label_map, labels: whether the values are classes, and what they mean.
        tags: of the file.
    """

    dtype: np.dtype
    names: tuple[str, ...]
    fill: float
    nodata: float | None = None
    bands: tuple[int, ...] = ()
    has_mask: bool = False
    is_sparse: bool = False
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    has_scales: bool = True
    band_tags: tuple[Mapping[str, str], ...] = ()
    colours: tuple[ColorInterp, ...] = ()
    palette: Mapping[int, tuple[int, int, int, int]] | None = None
    is_label_map: bool = False
    labels: tuple[Label, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def stored(self, values: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
        """Return physical values as stored samples: scaled back, rounded, cut off, and never the nodata value.

        Args:
            values: (C, h, w).
            valid: which of them count, (C, h, w) or (1, h, w); None for all.
        """
        if values.dtype.kind in "ui":
            return values.astype(self.dtype, copy=False)
        # Whole numbers of 32 bits and more need more than float32, whose next number may lie beyond their highest.
        scaled = values.astype(np.float32 if self.dtype in ("u1", "i1", "u2", "i2", "f4") else np.float64)
        for band, scale, offset in zip(scaled, self.scales, self.offsets, strict=False):
            if (scale, offset) != (1, 0):
                band -= offset
                band /= scale
        if self.dtype.kind != "f":
            limits = np.iinfo(self.dtype)
            np.rint(scaled, out=scaled)
            highest = limits.max if self.dtype.itemsize < 8 else np.nextafter(float(limits.max), 0)
            np.clip(scaled, limits.min, highest, out=scaled)
        samples = scaled.astype(self.dtype, copy=False)
        if self.nodata is not None and not np.isnan(self.nodata):
            nodata = self.dtype.type(self.nodata)
            samples = np.where(samples == nodata, _next_to(nodata), samples)
        return samples


def lasting_tags(tags: Sequence[Mapping[str, str]], scale: int) -> dict[str, str]:
    """Return the tags of a source that hold for what is computed from it: those that all its files have.

    Args:
        tags: those of each file.
        scale: output pixels per pixel of the source.
    """
    stale = STALE if scale == 1 else STALE + PER_PIXEL
    return {
        name: value
        for name, value in tags[0].items()
        if not name.startswith(stale) and all(each.get(name) == value for each in tags)
    }


def write_geotiff(spool: Spool, part: Path, description: Description, geometry: RasterGeometry, cog: bool) -> None:
    """Write complete samples as a GeoTIFF.

    Args:
        spool: (C, H, W), and after the bands the mask where there is one.
        part: the file.
        description: what it says about itself.
        geometry: where its pixels lie.
        cog: make it cloud-optimised, with overviews.

    Raises:
        OSError: the file cannot be written, for instance because the disk is full.
    """
    plain = part.with_name(f"{part.name}.plain.tif") if cog else part
    try:
        _write(spool, plain, description, geometry, fast=cog)
        if cog:
            _optimise(plain, part, description)
        _verify(spool, part, description)
    except (*FAULTS, UserError) as error:
        raise unwritten(part, error) from None
    finally:
        if cog:
            plain.unlink(missing_ok=True)


def _write(spool: Spool, path: Path, description: Description, geometry: RasterGeometry, fast: bool) -> None:
    """Write a tiled, compressed file; `fast` for one that is read once."""
    channels = spool.shape[0] - description.has_mask
    side = _block_side(spool)
    options = {
        "driver": "GTiff",
        "dtype": description.dtype.name,
        "count": channels,
        "height": spool.shape[1],
        "width": spool.shape[2],
        "crs": geometry.crs,
        "nodata": _declared_nodata(spool, description),
        "tiled": True,
        "blockxsize": side,
        "blockysize": side,
        "interleave": "pixel",
        "photometric": "rgb" if description.colours[:3] == RGB else "minisblack",
        "alpha": "no",
        "compress": "deflate",
        "predictor": _predictor(description.dtype),
        "zlevel": 1 if fast else 6,
        "num_threads": "all_cpus",
        "bigtiff": "if_safer",
        "sparse_ok": description.is_sparse,
    }
    if not geometry.transform.is_identity:
        options["transform"] = geometry.transform
    if _palette(description):
        del options["photometric"]  # told by the colour table
    with _environment(), rasterio.open(path, "w", **options) as file:
        _describe(file, description)
        for window in _chunks(spool, side, description):
            samples = spool.read(window)
            place = tuple((each.start, each.stop) for each in window)
            file.write(samples[:channels], window=place)
            if description.has_mask:
                file.write_mask(samples[-1] > 0, window=place)


def _verify(spool: Spool, path: Path, description: Description) -> None:
    """Refuse a file that does not hold the samples: GDAL does not tell what fails while a file is closed."""
    read_layout(path)
    channels = spool.shape[0] - description.has_mask
    bits = f"u{spool.dtype.itemsize}"  # in which NaN equals itself
    with _environment(), rasterio.open(path, num_threads="all_cpus") as file:
        for window in _chunks(spool, _block_side(spool), description):
            read = file.read(window=tuple((each.start, each.stop) for each in window))
            if not np.array_equal(read.view(bits), spool.read(window)[:channels].view(bits)):
                raise UserError(f"{path}: other samples were read than were written")


def _optimise(plain: Path, path: Path, description: Description) -> None:
    with _environment():
        rasterio.shutil.copy(
            plain,
            path,
            driver="COG",
            BLOCKSIZE=BLOCK,
            COMPRESS="DEFLATE",
            PREDICTOR="YES",
            NUM_THREADS="ALL_CPUS",
            BIGTIFF="IF_SAFER",
            SPARSE_OK="YES" if description.is_sparse else "NO",
            OVERVIEW_RESAMPLING="NEAREST" if description.is_label_map or description.palette else "AVERAGE",
        )


def _describe(file: rasterio.io.DatasetWriter, description: Description) -> None:
    file.update_tags(**description.tags)
    if _palette(description):
        file.write_colormap(1, _palette(description))
    for number, name in enumerate(description.names, start=1):
        if name:
            file.set_band_description(number, name)
    if description.labels:
        file.update_tags(1, **{f"LABEL_{label.value}": label.name for label in description.labels})
    if description.scales and description.has_scales:
        file.scales, file.offsets = description.scales, description.offsets
    for number, unit in enumerate(description.units, start=1):
        if unit:
            file.set_band_unit(number, unit)
    for number, tags in enumerate(description.band_tags, start=1):
        file.update_tags(number, **{name: value for name, value in tags.items() if not name.startswith(STALE)})


@contextmanager
def _environment() -> Iterator[None]:
    options = {"GDAL_PAM_ENABLED": "NO", "GDAL_TIFF_INTERNAL_MASK": "YES"}
    with gdal(**options), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _chunks(spool: Spool, side: int, description: Description) -> Iterator[Window]:
    """Yield windows of whole blocks, row by row; what is left out of a sparse file is passed over.

    GDAL would leave it out itself, but only after looking at all of it.
    """
    may_skip = description.is_sparse and description.fill == 0 and not description.has_mask
    channels, height, width = spool.shape
    blocks = 1 if may_skip else max(1, CHUNK_BYTES // (side * side * channels * spool.dtype.itemsize))
    for top in range(0, height, side):
        for left in range(0, width, side * blocks):
            window = slice(top, min(top + side, height)), slice(left, min(left + side * blocks, width))
            if not (may_skip and _is_unwritten(spool, window)):
                yield window


def _is_unwritten(spool: Spool, window: Window) -> bool:
    """Tell whether nothing of a window takes room on disk, so that all of it is zero."""
    (row, stop), columns = (window[0].start, window[0].stop), window[1]
    pixel = spool.shape[0] * spool.dtype.itemsize
    while row < stop:
        start = (row * spool.shape[2] + columns.start) * pixel
        try:
            data = os.lseek(spool.file, start, os.SEEK_DATA)
        except OSError as error:
            return error.errno == errno.ENXIO  # none from here to the end
        if data < start + (columns.stop - columns.start) * pixel:
            return False
        row = max(row + 1, data // (spool.shape[2] * pixel))
    return True


def _block_side(spool: Spool) -> int:
    side = BLOCK
    while side > 64 and side * side * spool.shape[0] * spool.dtype.itemsize > MOST_BLOCK_BYTES:
        side //= 2
    return side


def _declared_nodata(spool: Spool, description: Description) -> float | None:
    """Return the nodata value; of a label map where it is stored anywhere."""
    if not description.is_label_map:
        return description.nodata
    is_used = any((spool.read(window) == description.fill).any() for window in _chunks(spool, BLOCK, description))
    return description.fill if is_used else None


def _palette(description: Description) -> Mapping[int, tuple[int, ...]] | None:
    if description.labels:
        return {0: (0, 0, 0, 255), **{label.value: (*label.colour, 255) for label in description.labels}}
    return description.palette


def _predictor(dtype: np.dtype) -> int:
    """Return TIFF's predictor: differences of whole numbers, or of the bytes of floating-point ones."""
    return 3 if dtype.kind == "f" else 2


def _next_to(nodata: np.generic) -> np.generic:
    """Return the nearest value that does not stand for none."""
    if nodata.dtype.kind == "f":
        return np.nextafter(nodata, nodata.dtype.type(np.inf))
    return nodata + nodata.dtype.type(1) if nodata < np.iinfo(nodata.dtype).max else nodata - nodata.dtype.type(1)
