"""Which DICOM files make up a slide, and whether their headers can be true.

OpenSlide's reader believes numbers of frames and tables of offsets, and ends the process where they are wrong; so they
are checked here before.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from ....core.errors import UserError

UNKNOWN_LENGTH = 0xFFFFFFFF
ITEM = b"\xfe\xff\x00\xe0"
FACTS = [
    "Modality", "SeriesInstanceUID", "ImageType", "Rows", "Columns", "NumberOfFrames", "TotalPixelMatrixRows",
    "TotalPixelMatrixColumns", "TotalPixelMatrixFocalPlanes", "NumberOfOpticalPaths", "DimensionOrganizationType",
    "SamplesPerPixel", "BitsAllocated", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
]  # fmt: skip


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Let pydicom say nothing about odd values, which may name patients."""
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_dicom(path: Path) -> bool:
    """Tell whether a file begins as DICOM files do."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


@_silent()
def only_slide(folder: Path) -> Path:
    """Return one file of the only slide in a folder.

    Raises:
        UserError: there is none, or more than one.
    """
    slides: dict[str, Path] = {}
    for file in _dicom_files(folder):
        facts = _facts(file)
        if facts.get("Modality") == "SM":
            slides.setdefault(str(facts.get("SeriesInstanceUID", "")), file)
    if not slides:
        raise UserError(f"{folder}: the folder holds no DICOM slide; give a slide's file, or a folder of DICOM files.")
    if len(slides) > 1:
        names = ", ".join(file.name for file in slides.values())
        raise UserError(f"{folder}: the folder holds {len(slides)} slides; give a file of one, such as {names}.")
    return next(iter(slides.values()))


@_silent()
def check_slide(path: Path) -> None:
    """Refuse a slide if the header of any of its files, which lie in the same folder, cannot be true.

    Raises:
        UserError: names the file.
    """
    series = _facts(path).get("SeriesInstanceUID")
    for file in _dicom_files(path.parent):
        facts = _facts(file)
        if file == path or (series and facts.get("SeriesInstanceUID") == series):
            problem = _problem(file, facts)
            if problem:
                raise UserError(f"{file}: the file is damaged or was cut short ({problem}); get it again.")


def _dicom_files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if file.is_file() and is_dicom(file)]


def _facts(path: Path) -> Dataset:
    """Return what the header says; nothing where it is damaged."""
    try:
        with path.open("rb") as file:
            facts = pydicom.dcmread(file, specific_tags=FACTS, stop_before_pixels=True)
        list(facts)  # values are decoded when they are looked at
        return facts
    except Exception:  # damaged bytes make the reader fail in every possible way
        return Dataset()


def _problem(path: Path, facts: Dataset) -> str | None:
    """Say what cannot be true about a file."""
    try:
        tile = _whole(facts, "Rows"), _whole(facts, "Columns")
        size = _whole(facts, "TotalPixelMatrixRows", tile[0]), _whole(facts, "TotalPixelMatrixColumns", tile[1])
        frames = _whole(facts, "NumberOfFrames", 1)
        layers = _whole(facts, "TotalPixelMatrixFocalPlanes", 1) * _whole(facts, "NumberOfOpticalPaths", 1)
        places = layers * int(np.prod([-(-length // side) for length, side in zip(size, tile, strict=True)]))
        is_full = facts.get("DimensionOrganizationType") == "TILED_FULL"
        if frames > places or (is_full and frames != places):
            return f"{frames} frames for {places} tiles"
        if frames * 8 > path.stat().st_size:
            return f"{frames} frames cannot be in it"
        return _pixel_problem(path, facts, frames)
    except Exception:  # as above
        return "its header makes no sense"


def _whole(facts: Dataset, name: str, default: int | None = None) -> int:
    """Return a number of the header, at least 1."""
    value = int(facts.get(name) or default)
    if value < 1:
        raise ValueError(name)
    return value


def _pixel_problem(path: Path, facts: Dataset, frames: int) -> str | None:
    """Say what is wrong with where the frames lie."""
    length = path.stat().st_size
    with path.open("rb") as file:
        pydicom.dcmread(file, stop_before_pixels=True)  # leaves the file where the pixels' element begins
        head = file.read(12)
        is_explicit = head[4:6] in (b"OB", b"OW")
        declared = int.from_bytes(head[8:12] if is_explicit else head[4:8], "little")
        start = file.tell() - (0 if is_explicit else 4)
        if head[:4] != b"\xe0\x7f\x10\x00":
            return "it holds no pixels"
        if declared != UNKNOWN_LENGTH:
            pixel = _whole(facts, "SamplesPerPixel") * _whole(facts, "BitsAllocated") // 8
            needed = frames * _whole(facts, "Rows") * _whole(facts, "Columns") * pixel
            return None if needed <= declared <= length - start else f"{declared} bytes of pixels, {needed} needed"
        return _fragment_problem(file, start, length, frames, facts.get("ExtendedOffsetTable"))


def _fragment_problem(file: BinaryIO, start: int, length: int, frames: int, extended: bytes | None) -> str | None:
    """Say what is wrong with the table of offsets, or with the items where there is none."""
    file.seek(start)
    tag, size = file.read(4), int.from_bytes(file.read(4), "little")
    if tag != ITEM or size % 4 or start + 8 + size > length:
        return "its table of offsets makes no sense"
    first = start + 8 + size
    offsets = np.frombuffer(file.read(size), "<u4").astype(np.int64)
    if extended is not None:
        offsets = np.frombuffer(extended, "<u8").astype(np.int64)
    if len(offsets) not in (0, frames):
        return f"{len(offsets)} offsets for {frames} frames"
    if len(offsets):
        is_rising = offsets[0] == 0 and (np.diff(offsets) > 0).all()
        places = [first + int(offset) for offset in offsets] if is_rising else []
        if not places or not all(_item_end(file, place, length) for place in places):
            return "its table of offsets makes no sense"
        return None
    place = first
    for _ in range(frames):
        place = _item_end(file, place, length)
        if place is None:
            return "frames are missing"
    return None


def _item_end(file: BinaryIO, place: int, length: int) -> int | None:
    """Return where an item ends, or None where there is none within the file."""
    file.seek(place)
    head = file.read(8)
    end = place + 8 + int.from_bytes(head[4:], "little")
    return end if head[:4] == ITEM and end <= length else None
