"""Opening PNG, JPEG, TIFF and BMP files: upright pixels in rows, with one meaning whatever the file stores.

Arrays are (C, H, W), uint8 or uint16 over the full range of the type: grey, grey and alpha, RGB, or RGB and alpha.
PNG, TIFF and BMP are read through GDAL, a few rows at a time. JPEG is decoded whole through Pillow, as GDAL's decoder
spreads reduced colour otherwise than other programs do; so are, through either, files that are to be turned.
"""

from __future__ import annotations

import base64
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from ...core.errors import UserError

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
CHANNELS = {("gray",): 1, ("gray", "alpha"): 2, ("red", "green", "blue"): 3, ("red", "green", "blue", "alpha"): 4}
BAND = 64  # rows decoded at a time where all are needed
ORIENTATION, EXTRA_SAMPLES = 274, 338  # TIFF and EXIF tags
PREMULTIPLIED = 1

Convert = Callable[[np.ndarray], np.ndarray]


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


def open_picture(path: Path) -> Picture:
    """Open an image file.

    Palettes become RGB, or grey where they are a ramp of greys; fewer than 8 bits become 8; a transparent colour
    becomes alpha; premultiplied alpha is divided out; EXIF and TIFF orientation is applied.

    Raises:
        UserError: there is no such file, it is damaged, or it holds what an image here cannot be (CMYK, several
            pages, floating point, a side of one pixel).
    """
    kind = _kind(path)
    try:
        picture, orientation = _open_jpeg(path) if kind == "JPEG" else _open_gdal(path, kind)
        if min(picture.shape[1:]) < 2:
            raise UserError(f"{path}: {_size(picture)} pixels are too few; an image needs at least 2 x 2.")
        return picture if orientation == 1 else _turned(picture, orientation)
    except UserError:
        raise
    except Exception as error:  # damaged bytes make the readers fail in every possible way
        raise _damaged(path, error) from None


def gdal(**options: str) -> rasterio.Env:
    """Return the context for calls of GDAL: a small cache, no side files, nothing read but the file itself."""
    return rasterio.Env(
        GDAL_CACHEMAX=16,  # megabytes
        GDAL_PAM_ENABLED="NO",
        # Reading a whole PNG at once takes another decoder, which gives noise and no error for a file cut short.
        GDAL_PNG_WHOLE_IMAGE_OPTIM="NO",
        **{"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", **options},
    )


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


def _damaged(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error.__cause__ or error).replace(f"{path.name}, ", "").split())
    return UserError(f"{path}: the file is damaged or was cut short ({reason}); get or write it again.")


def _size(picture: Picture) -> str:
    return f"{picture.shape[2]} x {picture.shape[1]}"


def _open_jpeg(path: Path) -> tuple[Picture, int]:
    # The class itself, as Image.open would refuse images above a number of pixels.
    with JpegImageFile(path) as image:
        if image.mode not in ("L", "RGB"):
            raise UserError(f"{path}: is {image.mode}; only grey and RGB are supported. Convert it to RGB first.")
        image.load()
        pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
        for top in range(0, image.height, BAND):  # at once would need three times the memory
            band = image.crop((0, top, image.width, min(top + BAND, image.height)))
            pixels[top : top + BAND] = np.asarray(band).reshape(-1, *pixels.shape[1:])
        picture = _in_memory(pixels.transpose(2, 0, 1), image.info.get("icc_profile"))
        return picture, _exif_orientation(path, image.info.get("exif", b""))


def _open_gdal(path: Path, kind: str) -> tuple[Picture, int]:
    with gdal(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = rasterio.open(path, driver=kind)
        _refuse_unsupported(path, dataset)
        extra_samples, orientation = (), 1
        if kind == "GTiff":
            extra_samples, orientation = _tiff_tags(path)
        elif kind == "PNG":
            orientation = _exif_orientation(path, _png_exif(path))
        profile = base64.b64decode(dataset.tags(ns="COLOR_PROFILE").get("SOURCE_ICC_PROFILE", "")) or None
        channels, dtype, convert = _conversion(dataset, profile, PREMULTIPLIED in extra_samples)

    def rows(start: int, stop: int) -> np.ndarray:
        try:
            with gdal():
                return convert(dataset.read(window=((start, stop), (0, dataset.width))))
        except RasterioError as error:
            raise _damaged(path, error) from None

    return Picture((channels, dataset.height, dataset.width), dtype, profile, rows, dataset.close), orientation


def _refuse_unsupported(path: Path, dataset: rasterio.DatasetReader) -> None:
    if dataset.subdatasets:
        raise UserError(f"{path}: has {len(dataset.subdatasets)} pages; save each page as a file of its own.")
    space = dataset.tags(ns="IMAGE_STRUCTURE").get("SOURCE_COLOR_SPACE", "YCbCr")
    if space != "YCbCr":
        raise UserError(f"{path}: is {space}; only grey and RGB are supported. Convert it to RGB first.")
    if dataset.dtypes[0] not in ("uint8", "uint16"):
        raise UserError(f"{path}: holds {dataset.dtypes[0]} values; save it with 8 or 16 bits per channel.")
    channels = tuple(each.name for each in dataset.colorinterp)
    if channels not in CHANNELS and channels != ("palette",):
        raise UserError(
            f"{path}: has the channels {', '.join(channels)}; only grey and RGB, with or without alpha, are supported."
        )
    if dataset.crs:
        logger.warning("%s: is a map; what is written has its pixels, but not its coordinates.", path)


def _conversion(
    dataset: rasterio.DatasetReader, profile: bytes | None, premultiplied: bool
) -> tuple[int, np.dtype, Convert]:
    """Return the channels and dtype to which the file's samples are converted, and the function that does it."""
    dtype = np.dtype(dataset.dtypes[0])
    if dataset.colorinterp[0].name == "palette":
        table = _palette(dataset.colormap(1), profile)
        return len(table), table.dtype, lambda samples: table[:, samples[0]]
    channels = CHANNELS[tuple(each.name for each in dataset.colorinterp)]
    bits = int(dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8 * dtype.itemsize))
    if (key := _transparent_colour(dataset)) is not None:
        return channels + 1, dtype, lambda samples: _with_alpha(samples, key, bits)
    if premultiplied:
        return channels, dtype, _divided_by_alpha
    return channels, dtype, lambda samples: _full_range(samples, bits)


def _palette(colours: dict[int, tuple[int, int, int, int]], profile: bytes | None) -> np.ndarray:
    """Return the look-up table (C, entries): grey where all colours are, RGB otherwise, alpha where any is clear."""
    table = np.zeros((4, max(colours) + 1), np.uint8)
    for index, colour in colours.items():
        table[:, index] = colour
    opaque = (table[3] == 255).all()
    grey = (table[0] == table[1]).all() and (table[0] == table[2]).all()
    if grey and (profile is None or profile[16:20] == b"GRAY"):  # a profile for RGB fits no grey image
        return table[:1] if opaque else table[[0, 3]]
    return table[:3] if opaque else table


def _transparent_colour(dataset: rasterio.DatasetReader) -> np.ndarray | None:
    """Return the one transparent colour that a PNG may name, (C, 1, 1)."""
    if dataset.driver != "PNG" or dataset.nodata is None:
        return None
    values = dataset.tags().get("NODATA_VALUES", str(dataset.nodata)).split()
    return np.array(values, dtype=float).reshape(-1, 1, 1)


def _full_range(samples: np.ndarray, bits: int) -> np.ndarray:
    """Stretch samples of fewer bits than their type has."""
    highest = np.iinfo(samples.dtype).max
    if 2**bits - 1 == highest:
        return samples
    return (samples.astype(np.float64) * (highest / (2**bits - 1))).round().astype(samples.dtype)


def _with_alpha(samples: np.ndarray, key: np.ndarray, bits: int) -> np.ndarray:
    """Append alpha: clear where the samples are the transparent colour."""
    alpha = np.where((samples == key).all(axis=0), 0, np.iinfo(samples.dtype).max)
    return np.concatenate([_full_range(samples, bits), alpha.astype(samples.dtype)[None]])


def _divided_by_alpha(samples: np.ndarray) -> np.ndarray:
    highest = np.iinfo(samples.dtype).max
    straight = samples[:-1] * (highest / np.maximum(samples[-1:], 1.0))
    return np.concatenate([straight.round().clip(0, highest).astype(samples.dtype), samples[-1:]])


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


def _tiff_tags(path: Path) -> tuple[tuple[int, ...], int]:
    """Return what the extra samples of a TIFF are, and its orientation; GDAL tells neither."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about other tags
        header = file.read(8)
        if b"+" in header[2:4]:  # BigTIFF
            header += file.read(8)
        tags = ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
    extra = tags.get(EXTRA_SAMPLES, ())
    return extra if isinstance(extra, tuple) else (extra,), _valid(tags.get(ORIENTATION, 1))


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
