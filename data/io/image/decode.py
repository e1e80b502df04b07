"""Opening PNG, JPEG, TIFF and BMP files: upright pixels in rows, with one meaning whatever the file stores.

Arrays are (C, H, W), uint8 or uint16 over the full range of the type: grey, grey and alpha, RGB, or RGB and alpha.
PNG, TIFF, BMP and grey JPEG are read through GDAL, a few rows at a time. JPEG in colour is decoded whole through
Pillow, which has no decoder for rows: GDAL's gives other colours than other programs do, by up to 14 of 255 where the
file has reduced colour resolution. Files that are to be turned are decoded whole too.
"""

from __future__ import annotations

import base64
import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from rasterio.errors import NotGeoreferencedWarning

from ....core.errors import UserError
from ..gdal import gdal
from ..tiff_layout import EXTRA_SAMPLES, ORIENTATION, read_layout, read_tags
from .channels import CHANNELS, conversion, names_of
from .declared import too_large, too_large_jpeg

logger = logging.getLogger(__name__)

BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "GTiff",
    b"MM\x00*": "GTiff",
    b"II+\x00": "GTiff",
    b"MM\x00+": "GTiff",
    b"BM": "BMP",
}
BAND = 64  # rows decoded at a time where all are needed
PREMULTIPLIED = 1
LISTED_PAGES = 6


@dataclass
class Picture:
    """An opened image.

    Attributes:
        shape: (C, H, W); with 2 or 4 channels the last is alpha.
        dtype: uint8 or uint16.
        icc_profile: the embedded colour profile.
        rows: gives the rows start..stop as (C, r, W); raises UserError where the file is damaged.
        close: closes the file.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    icc_profile: bytes | None
    rows: Callable[[int, int], np.ndarray]
    close: Callable[[], None]

    def whole(self) -> np.ndarray:
        """Return all pixels, (C, H, W)."""
        image = np.empty(self.shape, self.dtype)
        for top in range(0, self.shape[1], BAND):
            image[:, top : top + BAND] = self.rows(top, min(top + BAND, self.shape[1]))
        return image


def open_picture(path: Path, page: int | None = None) -> Picture:
    """Open an image file.

    Palettes become RGB, or grey where they are a ramp of greys; fewer than 8 bits become 8; a transparent colour
    becomes alpha; premultiplied alpha is divided out; EXIF and TIFF orientation is applied. Three bands that a TIFF
    does not name are RGB.

    Args:
        path: the file.
        page: which page of a TIFF, from 1; None for the only one.

    Raises:
        UserError: there is no such file or page, it is damaged or declares more pixels than it can hold, or it holds
            what an image here cannot be (CMYK, several pages of which none is chosen, floating point, a side of one
            pixel).
    """
    kind = _kind(path)
    try:
        if reason := too_large(path, kind):
            raise _damaged(path, reason)
        if page not in (None, 1) and kind != "GTiff":
            raise _no_page(path, page, 1)
        with gdal():
            picture, orientation = _open_jpeg(path) if kind == "JPEG" else _open_gdal(path, kind, page)
        if min(picture.shape[1:]) < 2:
            raise UserError(f"{path}: {_size(picture)} pixels are too few; an image needs at least 2 x 2.")
        return picture if orientation == 1 else _turned(picture, orientation)
    except UserError:
        raise
    except Exception as error:  # damaged bytes make the readers fail in every possible way
        raise _damaged(path, error) from None


def _kind(path: Path) -> str:
    """Tell the format by the first bytes."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not an image.")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file.")
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise UserError(f"{path}: the file is empty; get or write it again.")
    kind = next((kind for beginning, kind in BEGINNINGS.items() if head.startswith(beginning)), None)
    if kind is None:
        raise UserError(f"{path}: is not an image that can be read; PNG, JPEG, TIFF and BMP can. Convert it first.")
    return kind


def _damaged(path: Path, error: Exception | str) -> UserError:
    cause = error if isinstance(error, str) else str(error.__cause__ or error)
    reason = " ".join(cause.replace(f"{path.name}, ", "").split())
    return UserError(f"{path}: the file is damaged or was cut short ({reason}); get or write it again.")


def _no_page(path: Path, page: int, count: int) -> UserError:
    return UserError(f"{path}: there is no page {page}; it has {count}, give --page 1{f'..{count}' * (count > 1)}.")


def _size(picture: Picture) -> str:
    return f"{picture.shape[2]} x {picture.shape[1]}"


def _open_jpeg(path: Path) -> tuple[Picture, int]:
    # The class itself, as Image.open would refuse images above a number of pixels.
    with JpegImageFile(path) as image:
        if image.mode not in ("L", "RGB"):
            raise UserError(f"{path}: is {image.mode}; only grey and RGB are supported. Convert it to RGB first.")
        if reason := too_large_jpeg(image.width, image.height, path.stat().st_size):
            raise _damaged(path, reason)
        profile = image.info.get("icc_profile")
        orientation = _exif_orientation(path, image.info.get("exif", b""))
        if image.mode == "L":
            return _read_by_rows(path, _open(path, "JPEG"), profile), orientation
        image.load()
        pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
        for top in range(0, image.height, BAND):  # at once would need three times the memory
            band = image.crop((0, top, image.width, min(top + BAND, image.height)))
            pixels[top : top + BAND] = np.asarray(band).reshape(-1, *pixels.shape[1:])
        return _in_memory(pixels.transpose(2, 0, 1), profile), orientation


def _open_gdal(path: Path, kind: str, page: int | None) -> tuple[Picture, int]:
    dataset = _open(path, kind)
    directory = 1
    if kind == "GTiff":
        dataset, directory = _page(path, dataset, page)
        if read_layout(path, directory).is_sparse:
            raise _damaged(path, "parts of it were never written")
    _refuse_unsupported(path, dataset)
    extra_samples, orientation = (), 1
    if kind == "GTiff":
        tags = read_tags(path, directory)  # GDAL tells neither of these
        extra_samples, orientation = tags.get(EXTRA_SAMPLES, ()), _valid(int(tags.get(ORIENTATION, [1])[0]))
    elif kind == "PNG":
        orientation = _exif_orientation(path, _png_exif(path))
    profile = base64.b64decode(dataset.tags(ns="COLOR_PROFILE").get("SOURCE_ICC_PROFILE", "")) or None
    return _read_by_rows(path, dataset, profile, PREMULTIPLIED in extra_samples), orientation


def _open(name: Path | str, driver: str) -> rasterio.DatasetReader:
    """Open a file, or what GDAL calls a part of it, without the warning that it is no map."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(name, driver=driver)


def _page(path: Path, dataset: rasterio.DatasetReader, page: int | None) -> tuple[rasterio.DatasetReader, int]:
    """Return a page of a TIFF, and the number of its directory; smaller copies and masks are no pages."""
    parts = dataset.subdatasets  # "GTIFF_DIR:<directory>:<path>"; none where there is one page
    count = max(len(parts), 1)
    if page is not None and not 1 <= page <= count:
        raise _no_page(path, page, count)
    if count == 1:
        return dataset, 1
    if page is None:
        names = dataset.tags(ns="SUBDATASETS")
        sizes = [re.findall(r"(\d+)P x (\d+)L", names.get(f"SUBDATASET_{n + 1}_DESC", "")) for n in range(count)]
        listed = ", ".join(f"{n}: {' x '.join(*size)}" for n, size in enumerate(sizes[:LISTED_PAGES], 1) if size)
        more = ", ..." if count > LISTED_PAGES else ""
        raise UserError(f"{path}: has {count} pages ({listed}{more}); choose one with --page 1..{count}.")
    part = parts[page - 1]
    return _open(part, "GTiff"), int(part.split(":")[1])


def _read_by_rows(
    path: Path, dataset: rasterio.DatasetReader, profile: bytes | None, premultiplied: bool = False
) -> Picture:
    channels, dtype, convert = conversion(dataset, profile, premultiplied)

    def rows(start: int, stop: int) -> np.ndarray:
        try:
            with gdal():
                return convert(dataset.read(window=((start, stop), (0, dataset.width))))
        except Exception as error:  # as in `open_picture`
            raise _damaged(path, error) from None

    return Picture((channels, dataset.height, dataset.width), dtype, profile, rows, dataset.close)


def _refuse_unsupported(path: Path, dataset: rasterio.DatasetReader) -> None:
    space = dataset.tags(ns="IMAGE_STRUCTURE").get("SOURCE_COLOR_SPACE", "YCbCr")
    if space != "YCbCr":
        raise UserError(f"{path}: is {space}; only grey and RGB are supported. Convert it to RGB first.")
    if dataset.dtypes[0] not in ("uint8", "uint16"):
        raise UserError(f"{path}: holds {dataset.dtypes[0]} values; save it with 8 or 16 bits per channel.")
    channels = names_of(dataset)
    if channels not in CHANNELS and channels != ("palette",):
        raise UserError(
            f"{path}: has the channels {', '.join(channels)}; only grey and RGB, with or without alpha, are supported."
        )
    if dataset.crs:
        logger.warning("%s: is a map; what is written has its pixels, but not its coordinates.", path)


def _in_memory(image: np.ndarray, profile: bytes | None) -> Picture:
    return Picture(image.shape, image.dtype, profile, lambda start, stop: image[:, start:stop], lambda: None)


def _turned(picture: Picture, orientation: int) -> Picture:
    """Return the picture upright; `orientation` 2..8 is that of EXIF."""
    image = picture.whole()
    picture.close()
    if orientation >= 5:
        image = image.transpose(0, 2, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, :, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[:, ::-1]
    return _in_memory(np.ascontiguousarray(image), picture.icc_profile)


def _png_exif(path: Path) -> bytes:
    """Return the EXIF block of a PNG file."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"eXIf":
                return file.read(length)
            file.seek(length + 4, 1)  # the content and its checksum
    return b""


def _exif_orientation(path: Path, block: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(block)
        return _valid(exif.get(ORIENTATION, 1))
    except Exception as error:  # a damaged block fails in every possible way, and says nothing about the pixels
        logger.warning("%s: the EXIF block is damaged (%s); the image is taken as upright.", path, error)
        return 1


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
