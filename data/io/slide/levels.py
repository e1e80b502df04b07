"""The pyramids inside whole-slide files: what sizes they hold, how large a pixel is, and the pixels of any part.

Read through OpenSlide, and through GDAL where OpenSlide cannot: OME-TIFF, whose coarser levels hide below the finest,
and tiled TIFF of kinds that OpenSlide does not know. Pixels are (h, w, 3) uint8; what a file leaves out or makes
transparent is white.
"""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

import numpy as np
import openslide
import rasterio
import tifffile
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from ....core.errors import UserError
from ..gdal import gdal
from .dicom import check_slide, is_dicom, only_slide

CACHE_BYTES = 16 << 20
HIGHEST_RATIO = 20_000  # of pixels' bytes to the file's; sparse tiles reach 12,000
LARGEST_BLOCK = 64 << 20  # bytes that decode at once
LARGEST_MPP = 20.0  # above it the resolution tags of a TIFF speak of paper (300 dpi are 85 µm)
MICROMETRES = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6, "Å": 1e-4}
MICROMETRES_PER_UNIT = {"centimeter": 1e4, "inch": 25_400.0, 3: 1e4, 2: 25_400.0}
SINGLE_PIXEL_KINDS = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR, tifffile.PHOTOMETRIC.MINISBLACK)

Mpp = tuple[float, float]
"""Micrometres per pixel of the finest level along (H, W)."""


class Levels(Protocol):
    """The levels of a slide, the finest first.

    Attributes:
        sizes: (H, W) of each.
        mpp: as the file tells; None where it does not.
        hint: what else the file tells about its resolution, as part of a sentence; "" for nothing.
    """

    sizes: list[tuple[int, int]]
    mpp: Mpp | None
    hint: str

    def pixels(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Return a part of a level that lies within it, uint8 (h, w, 3).

        Raises:
            UserError: the file is damaged there.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_levels(path: Path) -> Levels:
    """Open a whole-slide file, or a folder of DICOM files.

    Raises:
        UserError: there is no such file, it is damaged or cut short, or it is no slide that can be read.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder; check the path.")
    file = only_slide(path) if path.is_dir() else path
    if file.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; get it again.")
    if is_dicom(file):
        check_slide(file)
    description = _checked_tiff(file) if _is_tiff(file) else None
    try:
        if description is None or "<OME" not in description:
            return OpenSlideLevels(file)
    except openslide.OpenSlideUnsupportedFormatError:
        if description is None:
            raise UserError(
                f"{path}: is no whole-slide image that can be read: OpenSlide does not know it; "
                "convert it to a tiled, pyramidal TIFF."
            ) from None
    except openslide.OpenSlideError as error:
        if description is None:
            raise damaged(path, error) from None
    return TiffLevels(file)


def damaged(path: Path, error: Exception | str) -> UserError:
    """Return the error about a file whose bytes make no sense."""
    reason = " ".join(str(error).replace(str(path), "").split())[:200]
    return UserError(f"{path}: the file is damaged or was cut short ({reason}); get it again.")


class OpenSlideLevels:
    """A slide through OpenSlide.

    Where the downsampling of a level is no whole number, OpenSlide can be asked only for places that lie up to a half
    pixel of the finest level beside a pixel of that level, and interpolates. Ask for the same places again to get the
    same pixels.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.slide = openslide.OpenSlide(path)
        self.slide.set_cache(openslide.OpenSlideCache(CACHE_BYTES))
        self.sizes = [(height, width) for width, height in self.slide.level_dimensions]
        facts = self.slide.properties
        one_file = facts.get(openslide.PROPERTY_NAME_VENDOR) not in ("mirax", "dicom", "hamamatsu")
        try:
            _check_sizes(path, self.sizes, path.stat().st_size if one_file or _is_tiff(path) else None)
            self.mpp = _openslide_mpp(facts)
        except UserError:
            self.close()
            raise
        power = facts.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER, "")
        self.hint = f"the objective is said to be {power}x" if power else ""

    def pixels(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Return a part of a level, uint8 (h, w, 3)."""
        scale = self.slide.level_downsamples[level]
        try:
            region = self.slide.read_region((round(left * scale), round(top * scale)), level, (width, height))
        except openslide.OpenSlideError as error:
            raise damaged(self.path, error) from None
        if region.getchannel("A").getextrema()[0] == 255:
            return np.asarray(region.convert("RGB"))  # faster than what NumPy does
        return _on_white(np.asarray(region))

    def close(self) -> None:
        """Close the file."""
        self.slide.close()


class TiffLevels:
    """A TIFF or OME-TIFF through GDAL, each level by the directories that hold it.

    A level is one directory of grey or RGB pixels, or three of one colour each. Samples of 16 bits become 8.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hint = ""
        with _tiff(path) as tiff:
            levels = _usable(path, tiff)
            self.sizes = [level.shape[level.axes.index("Y") :][:2] for level in levels]
            offsets = [[page.offset for page in level.pages] for level in levels]
            self.mpp = _tiff_mpp(tiff)
        _check_sizes(path, self.sizes, path.stat().st_size)
        self.levels: list[list[rasterio.DatasetReader]] = []
        try:
            for size, level in zip(self.sizes, offsets, strict=True):
                self.levels.append([self._open(offset, size) for offset in level])
        except BaseException:
            self.close()
            raise

    def pixels(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Return a part of a level, uint8 (h, w, 3)."""
        window = Window(left, top, width, height)
        try:
            with gdal():
                planes = [dataset.read(window=window) for dataset in self.levels[level]]
                missing = _missing_blocks(self.levels[level][0], window)
        except (RasterioError, MemoryError) as error:
            raise damaged(self.path, error.__cause__ or error) from None
        pixels = np.concatenate(planes)
        if pixels.dtype == np.uint16:
            pixels = (pixels / 257).round().astype(np.uint8)
        pixels = np.moveaxis(pixels, 0, -1)
        pixels = _on_white(pixels) if pixels.shape[2] == 4 else np.repeat(pixels, 3 // pixels.shape[2], axis=2)
        for rows, columns in missing:
            pixels[rows, columns] = 255
        return pixels

    def close(self) -> None:
        """Close the file."""
        for dataset in (each for level in self.levels for each in level):
            dataset.close()

    def _open(self, offset: int, size: tuple[int, int]) -> rasterio.DatasetReader:
        """Open one directory of the file."""
        with gdal(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            try:
                dataset = rasterio.open(f"GTIFF_DIR:off:{offset}:{self.path}")
            except RasterioError as error:
                raise damaged(self.path, error) from None
        rows, columns = dataset.block_shapes[0]
        if dataset.shape != tuple(size):
            raise damaged(self.path, "its directories contradict one another")
        if rows * columns * dataset.count * np.dtype(dataset.dtypes[0]).itemsize > LARGEST_BLOCK:
            raise UserError(f"{self.path}: its pixels are not in tiles; save it as a tiled, pyramidal TIFF.")
        return dataset


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@contextlib.contextmanager
def _tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open the directories of a TIFF; whatever damaged ones do to the reader is told in one way."""
    log = logging.getLogger("tifffile")
    was_disabled, log.disabled = log.disabled, True  # it tells every oddity of every scanner
    try:
        with tifffile.TiffFile(path) as tiff, warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield tiff
    except (UserError, OSError):
        raise
    except Exception:  # damaged bytes make the reader fail in every possible way
        raise damaged(path, "its directories make no sense") from None
    finally:
        log.disabled = was_disabled


def _checked_tiff(path: Path) -> str:
    """Refuse a TIFF whose tiles do not all lie in the file, which readers show as white; return its description."""
    length = path.stat().st_size
    with _tiff(path) as tiff:
        for page in tiff.pages:
            if not page.is_tiled:
                continue
            wanted = math.prod(page.chunked)
            if 4 * wanted > length:  # of which four bytes each for its place
                raise damaged(path, f"{wanted} tiles cannot be in it")
            offsets, sizes = np.asarray(page.dataoffsets), np.asarray(page.databytecounts)
            if len(offsets) < wanted or len(sizes) < wanted:
                raise damaged(path, f"{len(offsets)} tiles of {wanted} are there")
            if len(offsets) == len(sizes) and (offsets.astype(float) + sizes > length).any():
                raise damaged(path, "tiles lie beyond the end of the file")
        return str(tiff.pages[0].description)


def _usable(path: Path, tiff: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """Return the levels of the first image, if they are grey or RGB."""
    if not tiff.series:
        raise damaged(path, "it holds no image")
    levels = [level for level in tiff.series[0].levels if "Y" in level.axes and "X" in level.axes]
    if not levels:
        raise damaged(path, "it holds no image")
    first = levels[0]
    for axis, size in zip(first.axes, first.shape, strict=True):
        if axis not in "YXSC" and size > 1:
            raise UserError(f"{path}: has {size} layers along {axis}; save one as a file of its own.")
    samples = [size for axis, size in zip(first.axes, first.shape, strict=True) if axis in "SC"]
    count = int(np.prod(samples))
    page = first.pages[0]
    if count not in (1, 3, 4) or len(first.pages) not in (1, 3) or page.photometric not in SINGLE_PIXEL_KINDS:
        raise UserError(f"{path}: has {count} channels of {page.photometric.name}; only grey and RGB can be read.")
    if first.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path}: holds {first.dtype} values; save it with 8 or 16 bits per channel.")
    return [level for level in levels if level.axes == first.axes]


def _missing_blocks(dataset: rasterio.DatasetReader, window: Window) -> list[tuple[slice, slice]]:
    """Return the parts of a window, counted from its corner, for which the file holds no tile."""
    rows, columns = dataset.block_shapes[0]
    top, left, height, width = window.row_off, window.col_off, window.height, window.width
    missing = []
    for row in range(top // rows, -(-(top + height) // rows)):
        for column in range(left // columns, -(-(left + width) // columns)):
            if dataset.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=1) is None:
                tall = slice(max(row * rows - top, 0), (row + 1) * rows - top)
                missing.append((tall, slice(max(column * columns - left, 0), (column + 1) * columns - left)))
    return missing


def _check_sizes(path: Path, sizes: list[tuple[int, int]], length: int | None) -> None:
    """Refuse declared sizes that a file of this length (bytes) cannot hold, or that are not those of one picture."""
    height, width = sizes[0]
    if min(height, width) < 1 or (length is not None and 3 * height * width > HIGHEST_RATIO * length):
        raise damaged(path, f"{width} x {height} pixels cannot be in it")
    for rows, columns in sizes[1:]:
        is_smaller = 1 <= rows <= height and 1 <= columns <= width
        if not is_smaller or abs(columns - rows * width / height) > 2 * max(1, width / height) + 0.05 * columns:
            raise damaged(path, f"levels of {width} x {height} and {columns} x {rows} pixels are not of one picture")


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """Return (h, w, 4) pixels, the last of which is opacity, on a white ground, uint8 (h, w, 3)."""
    opacity = pixels[..., 3:]
    if opacity.min(initial=255) == 255:
        return pixels[..., :3].copy()
    mixed = pixels[..., :3] * (opacity / np.float32(255)) + (255 - opacity)
    return mixed.round().astype(np.uint8)


def _openslide_mpp(facts: openslide._PropertyMap) -> Mpp | None:
    if "<OME" not in facts.get("openslide.comment", "") and facts.get("openslide.vendor") == "generic-tiff":
        unit = facts.get("tiff.ResolutionUnit", "")
        return _tagged_mpp(facts.get("tiff.XResolution"), facts.get("tiff.YResolution"), unit)
    return _positive(facts.get(openslide.PROPERTY_NAME_MPP_Y), facts.get(openslide.PROPERTY_NAME_MPP_X))


def _tiff_mpp(tiff: tifffile.TiffFile) -> Mpp | None:
    """Return what OME's description says, else the resolution tags."""
    page = tiff.pages[0]
    if page.description and "<OME" in page.description:
        with contextlib.suppress(ElementTree.ParseError, KeyError):  # then there may be tags
            pixels = ElementTree.fromstring(page.description).find(".//{*}Pixels")
            if pixels is not None:
                units = [MICROMETRES[pixels.get(f"PhysicalSize{axis}Unit", "µm")] for axis in "YX"]
                sizes = [float(pixels.get(f"PhysicalSize{axis}", "nan")) for axis in "YX"]
                if mpp := _positive(sizes[0] * units[0], sizes[1] * units[1]):
                    return mpp
    values = [page.tags[name].value if name in page.tags else None for name in ("XResolution", "YResolution")]
    ratios = [value[0] / value[1] if isinstance(value, tuple) and value[1] else None for value in values]
    unit = page.tags["ResolutionUnit"].value if "ResolutionUnit" in page.tags else 2
    return _tagged_mpp(*ratios, int(unit))


def _tagged_mpp(x_resolution: object, y_resolution: object, unit: object) -> Mpp | None:
    """Return the size of a pixel by the tags of a TIFF, unless they speak of paper or of nothing."""
    resolution = _positive(y_resolution, x_resolution)
    if resolution is None or unit not in MICROMETRES_PER_UNIT:
        return None
    y, x = (MICROMETRES_PER_UNIT[unit] / each for each in resolution)
    return (y, x) if min(y, x) >= 0.01 and max(y, x) <= LARGEST_MPP else None


def _positive(y: object, x: object) -> Mpp | None:
    """Return two numbers, or None where one is missing, no number, or not above 0."""
    try:
        values = float(y), float(x)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return values if all(np.isfinite(each) and each > 0 for each in values) else None
