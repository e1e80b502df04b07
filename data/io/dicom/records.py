"""What is known of a DICOM image before its pixels are decoded, and how its errors are told.

Names and values of patients stay out of every message; files and UIDs name what is wrong.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, config

from ....core.errors import UserError

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
PALETTE = "PALETTE COLOR"
PROJECTIONS = ("CR", "DX", "IO", "MG", "PX", "RG")
"""Modalities of X-ray pictures, which make no volume even where they share a series and say where they lie."""


class NotDicomError(UserError):
    """The file is no DICOM file."""


class NotAnImageError(UserError):
    """The DICOM file holds something else than an image to work on."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a file.

    Attributes:
        file: holds it.
        index: its number in the file, from 0.
        position: (3,) millimetres, LPS, of the centre of its first pixel; None where the file does not say.
        orientation: (6,) direction of growing columns, then of growing rows, LPS; None with the position.
        spacing: millimetres between (rows, columns); None where the file does not say.
        slope: with `intercept`, turns stored samples into physical values, such as HU.
        intercept: see `slope`.
    """

    file: ImageFile
    index: int
    position: np.ndarray | None
    orientation: np.ndarray | None
    spacing: tuple[float, float] | None
    slope: float
    intercept: float


@dataclass(eq=False)
class ImageFile:
    """A DICOM file that holds an image.

    Attributes:
        path: the file.
        sop_class: UID of what kind of image it is.
        sop_instance: UID of the file's content.
        series: UID of its series.
        series_number: as the scanner counts; 0 where the file does not say.
        modality: such as "CT".
        frame_of_reference: UID; "" where the file names none.
        size: (H, W) in pixels.
        options: for pydicom's decoder.
        lookup: the elements of a palette or a non-linear modality table; None where there is none.
        thickness: millimetres from slice to slice, for a lone slice; None where the file does not say.
        is_enhanced: describes its frames in functional groups, one by one.
        frames: in the order of the file.
        offset: where the value of the pixel data begins in what `open_content` gives.
    """

    path: Path
    sop_class: str
    sop_instance: str
    series: str
    series_number: int
    modality: str
    frame_of_reference: str
    size: tuple[int, int]
    options: dict[str, Any]
    lookup: Dataset | None
    thickness: float | None
    offset: int
    is_enhanced: bool = False
    frames: tuple[Frame, ...] = ()

    @property
    def photometric(self) -> str:
        """How samples become grey or colour."""
        return self.options["photometric_interpretation"]

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return 1 if self.photometric in GREY else 3

    @property
    def dtype(self) -> np.dtype:
        """Of the stored samples."""
        keyword, bits = self.options["pixel_keyword"], self.options["bits_allocated"]
        if keyword != "PixelData":
            return np.dtype(f"f{bits // 8}")
        return np.dtype(f"{'iu'[not self.options['pixel_representation']]}{max(bits // 8, 1)}")

    @property
    def is_picture(self) -> bool:
        """Whether it is an image of its own, whatever else its series holds."""
        return len(self.frames) == 1 and (self.frames[0].position is None or self.modality in PROJECTIONS)

    @property
    def stored_range(self) -> tuple[int, int]:
        """Lowest and highest sample that the stored bits can hold."""
        bits = self.options["bits_stored"]
        return (-(1 << bits - 1), (1 << bits - 1) - 1) if self.options["pixel_representation"] else (0, (1 << bits) - 1)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom and highdicom, whose warnings repeat values of the file, names of patients among them."""
    mode = config.settings.reading_validation_mode
    levels = {name: logging.getLogger(name).level for name in ("pydicom", "highdicom")}
    config.settings.reading_validation_mode = config.IGNORE
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = mode
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def damaged(path: Path, reason: str) -> UserError:
    """Return the error for a file whose content contradicts itself."""
    return UserError(f"{path}: the file is damaged or was cut short ({reason}); get it again.")
