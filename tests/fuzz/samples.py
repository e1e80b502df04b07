"""Small sound files of each format, made here or found inside the wheels of libraries."""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import rasterio
import tifffile
from PIL import Image
from rasterio.transform import from_origin

from foveal.tests.fixtures.images import LOSSLESS, PROFILE, pixels


def make(form: str, folder: Path) -> list[Path]:
    """Return small files of a format, some of them made in the folder."""
    return sorted(
        {"image": _images, "dicom": _dicom, "nifti": _nifti, "geotiff": _rasters, "slide": _slides}[form](folder)
    )


def _images(folder: Path) -> list[Path]:
    for name, options in {"base": {}, "progressive": {"progressive": True}, "icc": {"icc_profile": PROFILE}}.items():
        Image.fromarray(pixels(3, height=90, width=70)).save(folder / f"{name}.jpg", **options)
    colours = Image.fromarray(pixels(3)).quantize(16)
    colours.save(folder / "palette.png", transparency=3)
    colours.save(folder / "palette.bmp")
    tifffile.imwrite(
        folder / "tiled.tif", pixels(3, "uint16", 70, 50), photometric="rgb", tile=(32, 32), compression="zlib"
    )
    tifffile.imwrite(folder / "big.tif", pixels(1), bigtiff=True)
    for make_one in LOSSLESS.values():
        make_one(folder)
    return list(folder.iterdir())


def _dicom(folder: Path) -> list[Path]:
    home = Path(pydicom.__file__).parent / "data" / "test_files"
    wanted = (
        "CT_small",
        "MR_small",
        "693_J2KI",
        "JPEG2000",
        "MR_small_RLE",
        "MR_small_bigendian",
        "SC_rgb_jpeg",
        "SC_rgb_rle_2frame",
        "SC_rgb_small_odd",
        "examples_palette",
        "image_dfl",
    )
    return [home / f"{name}.dcm" for name in wanted]


def _nifti(folder: Path) -> list[Path]:
    home = Path(nibabel.__file__).parent / "tests" / "data"
    volume = np.random.default_rng(0).integers(-1000, 1000, (9, 8, 7)).astype(np.int16)
    for name in ("plain.nii", "packed.nii.gz"):
        image = nibabel.Nifti1Image(volume, np.diag([1.0, 2.0, 3.0, 1.0]))
        image.header.set_slope_inter(0.5, 10)
        nibabel.save(image, folder / name)
    nibabel.save(nibabel.Nifti2Image(volume.astype(np.float32), np.eye(4)), folder / "second.nii")
    names = ("anatomical.nii", "functional.nii", "example_nifti2.nii.gz", "reoriented_anat_moved.nii")
    return [*folder.iterdir(), *(home / name for name in names)]


def _rasters(folder: Path) -> list[Path]:
    values = np.random.default_rng(0).integers(0, 10000, (3, 70, 90))
    common = {"driver": "GTiff", "count": 3, "height": 70, "width": 90, "crs": "EPSG:32633"}
    common["transform"] = from_origin(500000, 5200000, 10, 10)
    kinds = {
        "strips": {"dtype": "uint16", "nodata": 0},
        "tiles": {"dtype": "int16", "tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"},
        "floats": {"dtype": "float32", "nodata": float("nan"), "compress": "lzw", "interleave": "band"},
        "big": {"dtype": "uint8", "bigtiff": "YES", "compress": "zstd"},
    }
    for name, options in kinds.items():
        with rasterio.open(folder / f"{name}.tif", "w", **common, **options) as raster:
            raster.write((values % 256 if name == "big" else values).astype(options["dtype"]))
            raster.descriptions = ("B02", "B03", "B04")
    return list(folder.iterdir())


def _slides(folder: Path) -> list[Path]:
    levels = [pixels(3, height=300 // step, width=400 // step) for step in (1, 2, 4)]
    for name, compression in {"plain": None, "deflate": "zlib"}.items():
        with tifffile.TiffWriter(folder / f"{name}.tif") as file:
            for level, image in enumerate(levels):
                file.write(
                    image,
                    photometric="rgb",
                    tile=(128, 128),
                    compression=compression,
                    subfiletype=int(level > 0),
                    resolution=(20000 / 2**level, 20000 / 2**level),  # half a micrometre
                    resolutionunit="CENTIMETER",
                )
    profile = {"driver": "GTiff", "count": 3, "height": 300, "width": 400, "dtype": "uint8", "tiled": True}
    profile |= {"blockxsize": 128, "blockysize": 128, "compress": "jpeg", "photometric": "ycbcr"}
    with warnings.catch_warnings(action="ignore"), rasterio.open(folder / "jpeg.tif", "w", **profile) as raster:
        raster.write(levels[0].transpose(2, 0, 1))
        raster.update_tags(TIFFTAG_XRESOLUTION="20000", TIFFTAG_YRESOLUTION="20000", TIFFTAG_RESOLUTIONUNIT="3")
        raster.build_overviews([2, 4])
    return list(folder.iterdir())
