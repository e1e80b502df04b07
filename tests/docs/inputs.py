"""Tiny files and folders under the names that the documentation uses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from foveal.tests.data.io.test_video import write_video
from foveal.tests.fixtures import bags, dated, dicom, geotiff, masks, pixelwise, slide, volumes
from foveal.tests.fixtures.datasets_3d import nnunet_folder
from foveal.tests.fixtures.photographs import picture
from foveal.tests.fixtures.studies import write_study


def write_inputs(text: str) -> None:
    """Write into the working directory whatever the blocks of a page name."""
    for name, write in INPUTS.items():
        if re.search(rf"(?<![\w/.-]){re.escape(name)}(?![\w.-])", text):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            write(Path(name))


def pictures(folder: Path) -> None:
    """Write three photographs."""
    for number in range(3):
        picture(folder / f"picture{number}.png", (80, 96))


def pairs(folder: Path) -> None:
    """Write images, and masks beside them."""
    for number in range(2):
        shape = np.zeros((40, 36), np.uint8)
        shape[5:20, 8:30] = 255
        masks.save(Image.fromarray(shape), folder.with_name("masks") / f"case{number}.png")
        picture(folder / f"case{number}.png", (40, 36))


def ppm(path: Path) -> None:
    """Write the pixels of the photograph beside it as binary PPM."""
    Image.open(picture(path.with_suffix(".png"), (13, 21))).save(path)


def slides(folder: Path) -> None:
    """Write two stained slides."""
    folder.mkdir(exist_ok=True)
    for number in range(2):
        whole_slide(folder / f"s{number}.svs", number)


def whole_slide(path: Path, seed: int = 0) -> None:
    """Write a slide that tells its resolution."""
    slide.write_tiff(path, slide.stained(800, 900, seed), levels=2)


def archive(folder: Path) -> None:
    """Write two places under clouds, with a date each that is clear."""
    for name in ("meadow", "harbour"):
        dated.write_place(folder / name, dates=("2018-03-07", "2018-06-10", "2018-07-01", "2018-08-03"))
        clear = folder / name / "cloud_mask" / "2018-08-03.tif"
        values, _ = geotiff.read_raster(clear)
        geotiff.write_raster(clear, np.zeros_like(values))


def volume_folder(folder: Path) -> None:
    """Write volumes, and their labels in the folder `masks`."""
    for number in range(2):
        values, labels = volumes.arrays(number)
        volumes.save(values, folder / f"case{number}.nii.gz")
        volumes.save(labels, folder.with_name("masks") / f"case{number}.nii.gz")


def studies(folder: Path) -> None:
    """Write series with segmentations, of three patients."""
    for number in range(4):
        write_study(folder / f"study{number}", number)


def program(path: Path) -> None:
    """Write a program that segments grey images, volumes slice by slice, and single bands."""
    pixelwise.save_shades(path, channels=("grey",), intensity={"percentiles": [0.5, 99.5]})


INPUTS: dict[str, Callable[[Path], object]] = {
    "photo.jpg": lambda path: picture(path, (40, 48)),
    "photograph.ppm": ppm,
    "photographs": pictures,
    "photographs/train": pictures,
    "photographs/held_out": pictures,
    "pictures": pictures,
    "frames": pictures,
    "slices": pictures,
    "images": pairs,
    "xray.dcm": lambda path: dicom.save(path, dicom.image_dataset(np.full((40, 36), 90, np.uint8))),
    "colonoscopy.mp4": write_video,
    "head.nii.gz": lambda path: volumes.save(volumes.arrays(0, (40, 52, 40))[0], path),
    "brain.nii.gz": lambda path: volumes.save(volumes.arrays(0, (40, 52, 40))[0], path),
    "study/series": dicom.write_series,
    "studies": studies,
    "volumes": volume_folder,
    "datasets/nnUNet_raw/Dataset001_Mine": lambda path: nnunet_folder(3, str(path)),
    "datasets/restoration/kodak": pictures,
    "datasets/udc/train/poled/degraded": pictures,
    "datasets/udc/train/poled/clean": pictures,
    "scene.tif": lambda path: geotiff.write_raster(path, geotiff.samples(1)),
    "network.pt": program,
    "archive": archive,
    "slide.svs": whole_slide,
    "slides": slides,
    "labels.csv": lambda path: bags.write_labels(path, [["s0.svs", "tumour"], ["s1.svs", "normal"]]),
}
"""What writes the file or folder of each name."""
