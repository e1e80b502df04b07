"""One raster file: its bands, where it lies, and windows of physical values with what is valid of them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import array_bounds
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from ....core.errors import UserError
from ...geometry import RasterGeometry
from ..tiff_layout import Layout, read_layout
from .band_names import Bands, alpha_band, bands_of_channels, chosen_bands
from .store import BlockStore

logger = logging.getLogger(__name__)

MEGABYTE = 1 << 20
CACHE = 32 * MEGABYTE
STORED_SIDE = 512  # pixels along a side of the blocks that are kept on disk, about
STORED_STRIP = 8 * MEGABYTE  # decoded at a time where a file is in strips
Window = tuple[slice, slice]
Rule = Literal["all", "nodata", "mask", "alpha", "zero"]
"""What tells the pixels that count: nothing, a value that stands for none, a mask, an alpha band, or that not all bands
are zero."""


def gdal(**options: str) -> rasterio.Env:
    """Return the context for calls of GDAL about rasters: a small cache, and files at the side that tell more."""
    return rasterio.Env(GDAL_CACHEMAX=CACHE, GDAL_DISABLE_READDIR_ON_OPEN="TRUE", **options)


class Raster:
    """An opened raster file.

    Args:
        path: a TIFF file.
        bands: which to read, in this order: numbers from 1, or descriptions; None for all but an alpha band.
        grid: where to put it if it is to be warped; None for a grid in the CRS of its ground control points.
        warp: resample it, bilinearly, or to the nearest where it has a colour table.
        channels: the parts of the spectrum that are wanted, in order, where `bands` is None; () for whatever is there.
        nearest: resample it to the nearest in any case, as classes must be.

    Attributes:
        bands: numbers of the bands read.
        names: their descriptions, "" where there is none.
        dtype: of the stored samples.
        nodata: the value that stands for none; None where there is none, or no sample can have it.
        scales, offsets: physical value = stored sample * scale + offset, for each band.
        has_scales: the file itself says so.
        convention: the same in words, and what tells it.
        rule: what tells the pixels that count.
        geometry: where the pixels lie.
        tags, acquisition: what the file says of itself, and of when and by what it was taken.
        has_points: ground control points alone tell where it lies.
        layout: how they are stored; None where they were resampled.
        cache: bytes of decoded blocks that GDAL may keep for this file; more are kept on disk.

    Raises:
        UserError: the file is missing, damaged, or no raster of numbers; or it has no such band.
    """

    def __init__(
        self,
        path: Path,
        bands: Bands | None = None,
        grid: RasterGeometry | None = None,
        warp: bool = False,
        channels: Sequence[str] = (),
        nearest: bool = False,
    ) -> None:
        self.path = path
        self.nearest = nearest
        self.layout: Layout | None = read_layout(path)
        self.store: BlockStore | None = None
        self.cache = CACHE
        self.opened: list[rasterio.DatasetReader] = []
        try:
            with gdal(), warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self.opened.append(rasterio.open(path, driver="GTiff"))
                self._refuse_unsupported()
                self._describe(bands, channels)
                if warp:
                    self._warp(grid)
        except UserError:
            self.close()
            raise
        except Exception as error:  # damaged bytes make the reader fail in every possible way
            self.close()
            raise damaged(path, error) from None

    @property
    def file(self) -> rasterio.DatasetReader:
        """The file as it is."""
        return self.opened[0]

    @property
    def dataset(self) -> rasterio.DatasetReader:
        """The file, or what it is resampled to."""
        return self.opened[-1]

    def row_bytes(self, rows: int) -> int:
        """Return the bytes of the decoded blocks that a window of all columns and this many rows reaches into."""
        height, width = self.dataset.block_shapes[0]
        reached = height * (-(-(rows - 1) // height) + 1)
        return reached * -(-self.dataset.width // width) * width * self.dataset.count * self.dtype.itemsize

    def is_stored(self, window: Window) -> bool:
        """Tell whether the file holds any sample of a window; samples left out are read as nodata, or zero."""
        return self.layout is None or self.layout.stored_in(window, self.bands)

    @property
    def may_have_invalid(self) -> bool:
        """Tell whether any pixel may count for nothing."""
        is_sparse = self.layout is not None and self.layout.is_sparse
        return self.rule != "all" or is_sparse or self.dtype.kind == "f"

    def values(self, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the physical values of a window, 0 where invalid, and what is valid.

        Args:
            window: rows and columns.

        Returns:
            float32 (C, h, w), and bool (C, h, w), or (1, h, w) if it is the same for all bands; None where all is.

        Raises:
            UserError: the file is damaged there.
            OSError: the folder of temporary files is full.
        """
        try:
            with gdal(), warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                samples = self._samples(window)
                valid = self._valid(samples, window)
        except Exception as error:
            if isinstance(error, OSError) and not isinstance(error, RasterioError):
                raise  # no room for the temporary file
            raise damaged(self.path, error, window) from None
        values = samples[: len(self.bands)].astype(np.float32)
        for band, scale, offset in zip(values, self.scales, self.offsets, strict=True):
            if (scale, offset) != (1, 0):
                band *= np.float32(scale)
                band += np.float32(offset)
        if valid is None or valid.all():
            return values, None
        np.copyto(values, 0, where=~valid)
        return values, valid

    def described(self, bands: Sequence[int]) -> dict[str, object]:
        """Return what the file says about some of the bands read, told by index, as arguments of a description."""
        file = self.file
        numbers = [self.bands[band] for band in bands]
        colours = tuple(file.colorinterp[number - 1] for number in numbers)
        return {
            "names": tuple(self.names[band] for band in bands),
            "scales": tuple(self.scales[band] for band in bands),
            "offsets": tuple(self.offsets[band] for band in bands),
            "has_scales": self.has_scales,
            "units": tuple(file.units[number - 1] or "" for number in numbers),
            "band_tags": tuple(file.tags(number) for number in numbers),
            "colours": colours,
            "palette": file.colormap(numbers[0]) if colours == (ColorInterp.palette,) else None,
        }

    def read_as(self, scale: float, offset: float) -> None:
        """Let physical value = stored sample * scale + offset, where the file itself says nothing."""
        self.scales, self.offsets = (scale,) * len(self.bands), (offset,) * len(self.bands)

    def leave_out_zeros(self) -> None:
        """Let a pixel of whole numbers whose bands are all zero count for nothing, where the file says nothing."""
        if self.rule == "all" and self.dtype.kind in "ui":
            self.rule = "zero"

    def close(self) -> None:
        """Close the file."""
        if self.store:
            self.store.close()
        for dataset in reversed(self.opened):
            dataset.close()

    def _refuse_unsupported(self) -> None:
        file = self.file
        if len(file.subdatasets) > 1:
            raise UserError(f"{self.path}: has {len(file.subdatasets)} pages; save each page as a file of its own.")
        if any("complex" in each for each in file.dtypes):
            raise UserError(f"{self.path}: holds complex numbers; convert them, for instance to amplitudes, first.")

    def _describe(self, bands: Bands | None, channels: Sequence[str]) -> None:
        file = self.file
        self.alpha = alpha_band(file)
        if bands is None and channels:
            self.bands = bands_of_channels(self.path, file, channels, self.alpha)
        else:
            self.bands = chosen_bands(self.path, file, bands, self.alpha)
        self.dtype = np.dtype(file.dtypes[0])
        self.names = tuple(file.descriptions[band - 1] or "" for band in self.bands)
        self.scales = tuple(file.scales[band - 1] for band in self.bands)
        self.offsets = tuple(file.offsets[band - 1] for band in self.bands)
        self.convention = "as the file has them"
        self.has_scales = (set(self.scales), set(self.offsets)) != ({1}, {0})
        if not np.isfinite([*self.scales, *self.offsets]).all() or 0 in self.scales:
            raise UserError(f"{self.path}: has an impossible scale or offset of a band; correct its tags.")
        self.nodata = _possible(file.nodatavals[self.bands[0] - 1], self.dtype)
        self.rule: Rule = _rule(file.mask_flag_enums[self.bands[0] - 1], self.nodata, self.alpha)
        transform = file.transform
        is_possible = np.isfinite(transform).all() and transform.determinant != 0
        self.geometry = RasterGeometry(file.shape, file.crs, transform)
        if not is_possible or self.geometry.difference(self.geometry):  # which overflows where numbers are absurd
            raise UserError(f"{self.path}: has an impossible transform {tuple(transform)[:6]}; correct its tags.")
        self.tags, self.acquisition = file.tags(), file.tags(ns="IMAGERY")
        self.has_points = bool(file.gcps[0]) and transform.is_identity

    def _warp(self, grid: RasterGeometry | None) -> None:
        """Put another grid in place of the file's own."""
        crs = self.file.gcps[1] if self.has_points else self.file.crs
        if crs is None or (grid is not None and grid.crs is None):
            raise UserError(f"{self.path}: cannot be resampled, as it or the first raster names no CRS.")
        if self.has_points:  # GDAL takes points onto a grid of its own only
            self._resample(crs=crs)
        if grid is not None:
            self._refuse_elsewhere(grid)
            height, width = grid.shape
            self._resample(crs=grid.crs, transform=grid.transform, height=height, width=width)
        dataset = self.dataset
        self.rule = "nodata" if self.nodata is not None else "alpha"
        self.geometry = RasterGeometry(dataset.shape, dataset.crs, dataset.transform)
        self.layout = None

    def _refuse_elsewhere(self, grid: RasterGeometry) -> None:
        """Refuse a file that shares no ground with a grid."""
        dataset = self.dataset
        own = np.reshape(transform_bounds(dataset.crs, grid.crs, *dataset.bounds), (2, 2))
        wanted = np.reshape(array_bounds(*grid.shape, grid.transform), (2, 2))  # corners, whichever is the lower
        if (own.max(axis=0) <= wanted.min(axis=0)).any() or (wanted.max(axis=0) <= own.min(axis=0)).any():
            raise UserError(f"{self.path}: shows another place than the first raster; leave it out.")

    def _resample(self, **grid: object) -> None:
        is_nearest = self.nearest or self.file.colorinterp[0] == ColorInterp.palette
        needs_alpha = self.nodata is None and self.alpha is None
        self.opened.append(
            WarpedVRT(
                self.dataset,
                resampling=Resampling.nearest if is_nearest else Resampling.bilinear,
                nodata=self.nodata,
                add_alpha=needs_alpha,
                warp_mem_limit=CACHE // MEGABYTE,
                **grid,
            )
        )
        if needs_alpha:
            self.alpha = self.dataset.count

    def _samples(self, window: Window) -> np.ndarray:
        """Return stored samples, (bands, h, w); where a mask or alpha is the rule, it comes after them."""
        if self.store is None and self.row_bytes(window[0].stop - window[0].start) > self.cache:
            self.store = self._make_store()
        return self.store.read(window) if self.store else self._decode(window)

    def _make_store(self) -> BlockStore:
        """Return a store of blocks as the file has them; small ones are taken together, strips are cut."""
        height, width = self.dataset.block_shapes[0]
        shape = len(self.bands) + (self.rule in ("mask", "alpha")), *self.geometry.shape
        if width < shape[2]:
            block, together = (height * max(1, STORED_SIDE // height), width * max(1, STORED_SIDE // width)), 1
        else:
            rows = STORED_STRIP // (shape[2] * self.dataset.count * self.dtype.itemsize)
            block, together = (height * max(1, rows // height), STORED_SIDE), -(-shape[2] // STORED_SIDE)
        return BlockStore(shape, self.dtype, block, together, self._decode)

    def _decode(self, window: Window) -> np.ndarray:
        place = tuple((each.start, each.stop) for each in window)
        if self.rule == "alpha":
            return self.dataset.read([*self.bands, self.alpha], window=place)
        samples = self.dataset.read(self.bands, window=place)
        if self.rule == "mask":
            mask = self.dataset.read_masks(self.bands[0], window=place) > 0
            samples = np.concatenate([samples, mask[None].astype(self.dtype)])
        return samples

    def _valid(self, samples: np.ndarray, window: Window) -> np.ndarray | None:
        """Return what is valid, bool (bands, h, w) or (1, h, w); None where all is."""
        parts = []
        bands = samples[: len(self.bands)]
        if self.rule == "nodata" and not np.isnan(self.nodata):
            parts.append(bands != self.dtype.type(self.nodata))
        elif self.rule == "zero":
            parts.append(bands.any(axis=0, keepdims=True))
        elif self.rule in ("mask", "alpha"):
            parts.append(samples[-1:] > 0)
        if self.dtype.kind == "f":
            parts.append(np.abs(bands) <= np.finfo(np.float32).max)  # neither NaN nor beyond what a network takes
        if self.layout is not None and self.layout.is_sparse:
            parts.append(self.layout.stored_samples(window, self.bands)[None])
        valid = parts[0] if parts else None
        for part in parts[1:]:
            valid = valid & part
        return valid


def damaged(path: Path, error: Exception, window: Window | None = None) -> UserError:
    """Return the error that tells of a file which cannot be decoded, and where."""
    reason = " ".join(str(error.__cause__ or error).replace(f"{path.name}, ", "").split()) or type(error).__name__
    where = ""
    if window:
        rows, columns = (f"{each.start}..{each.stop - 1}" for each in window)
        where = f" in rows {rows} and columns {columns}"
    return UserError(f"{path}: the file is damaged or was cut short{where} ({reason}); get or write it again.")


def _possible(nodata: float | None, dtype: np.dtype) -> float | None:
    """Return the value that stands for none, if samples of the dtype can have it."""
    if nodata is None or dtype.kind == "f":
        with np.errstate(over="ignore"):  # what is beyond the type becomes infinite, which counts for nothing anyway
            return None if nodata is None else float(dtype.type(nodata))
    limits = np.iinfo(dtype)
    return nodata if np.isfinite(nodata) and nodata == int(nodata) and limits.min <= nodata <= limits.max else None


def _rule(flags: list[MaskFlags], nodata: float | None, alpha: int | None) -> Rule:
    if MaskFlags.alpha not in flags and MaskFlags.per_dataset in flags:
        return "mask"
    if MaskFlags.alpha in flags and alpha is not None:
        return "alpha"
    return "nodata" if nodata is not None else "all"
