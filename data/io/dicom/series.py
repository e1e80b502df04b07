"""Finding the images of one DICOM series in a folder that may hold several, and files of any other kind."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ....core.errors import UserError
from .files import SEGMENTATIONS, read_image_file
from .records import ImageFile, NotAnImageError, NotDicomError

SUFFIXES = (".dcm", ".dicom", ".ima")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Series:
    """The images of one series.

    Attributes:
        uid: its DICOM UID.
        files: in the order of their names.
    """

    uid: str
    files: tuple[ImageFile, ...]

    def __str__(self) -> str:
        """Return its facts in one line, none of which tells who the patient is."""
        count = sum(len(file.frames) for file in self.files)
        size = Counter(file.size for file in self.files).most_common(1)[0][0]
        images = "1 image" if count == 1 else f"{count} images"
        return f"{self.files[0].modality}, {images} of {size[1]} x {size[0]}, {self.uid or 'no UID'}"


def list_series(folder: str | Path, damaged: dict[Path, str] | None = None) -> list[Series]:
    """Return the series of images in a folder and the folders in it, ordered by their numbers and UIDs.

    Files that are no DICOM files, or hold no image (directories, reports, plans, segmentations), are left out; those
    that are named as DICOM files and are none are not.

    Args:
        folder: holds the files.
        damaged: gets the files that cannot be read, and why; None refuses the folder for such a file.

    Raises:
        NotAnImageError: the folder holds no DICOM image.
        UserError: there is no such folder, or a DICOM image in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder.")
    groups: dict[str, list[ImageFile]] = {}
    others = 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        try:
            file = read_image_file(path)
        except NotAnImageError:
            others += 1
            continue
        except UserError as error:
            if isinstance(error, NotDicomError) and path.suffix.lower() not in SUFFIXES:
                others += 1
                continue
            if damaged is None:
                raise  # a slice that is damaged, or lost its content
            damaged[path] = str(error)
            continue
        if file.sop_class in SEGMENTATIONS:
            others += 1
            continue
        groups.setdefault(file.series, []).append(file)
    if not groups:
        raise NotAnImageError(f"{folder}: holds no DICOM image; give the folder of a series, or a file.")
    if others:
        logger.info("%s: %d files hold no DICOM image and are left out.", folder, others)
    found = [Series(uid, tuple(files)) for uid, files in groups.items()]
    return sorted(found, key=lambda each: (each.files[0].series_number, each.uid))


def choose_series(folder: Path, choice: str | int | None = None) -> Series:
    """Return one series of a folder.

    Args:
        folder: holds the files.
        choice: its UID, or its number in the list that the error shows, from 1; None where there is only one.

    Raises:
        UserError: there are several and none, or one that is not there, is chosen.
    """
    found = list_series(folder)
    if choice is None:
        if len(found) == 1:
            return found[0]
        raise UserError(f"{folder}: holds {len(found)} series; choose one by --series NUMBER or UID: {_listed(found)}")
    by_name = {each.uid: each for each in found} | {str(n): each for n, each in enumerate(found, start=1)}
    if str(choice) not in by_name:
        raise UserError(f"{folder}: has no series {choice}; it holds: {_listed(found)}")
    return by_name[str(choice)]


def _listed(found: list[Series]) -> str:
    return "; ".join(f"{number}: {each}" for number, each in enumerate(found, start=1)) + "."
