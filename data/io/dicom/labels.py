"""Reading DICOM segmentations as label maps, and finding those of a series."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom import dcmread

from ....core.errors import UserError
from ...geometry import LPS_RAS
from .files import SEGMENTATIONS
from .records import quiet

REFERENCES = ["SOPClassUID", "ReferencedSeriesSequence"]


def find_segmentations(folder: Path) -> dict[str, list[Path]]:
    """Return the segmentations in a folder and the folders in it, by the UID of the series that they are of."""
    from ..formats import is_dicom_file

    found: dict[str, list[Path]] = {}
    for path in sorted(each for each in folder.rglob("*") if is_dicom_file(each)):
        with quiet():
            header = dcmread(path, stop_before_pixels=True, specific_tags=REFERENCES, force=True)
        if header.get("SOPClassUID") in SEGMENTATIONS:
            for series in header.get("ReferencedSeriesSequence") or []:
                found.setdefault(str(series.SeriesInstanceUID), []).append(path)
    return found


def read_segmentation(path: Path) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Read a segmentation as a label map.

    Returns:
        Labels (D, H, W), the background 0; the affine that maps their (column, row, slice, 1) to millimetres, RAS; and
        the name of each value. Slices at both ends may be missing, where no segment is.

    Raises:
        UserError: the file is no segmentation of volumes, or its segments cannot be one label map.
    """
    with quiet():
        try:
            segmentation = hd.seg.segread(path)
            volume = segmentation.get_volume(combine_segments=True)
        except Exception as error:  # highdicom's, of many kinds
            raise UserError(
                f"{path}: cannot be read as one label map ({' '.join(str(error).split())[:200]}); segments must not "
                "overlap nor be fractions, and their slices must be evenly apart."
            ) from None
    numbers = [number for number in segmentation.segment_numbers if number]
    names = {number: str(segmentation.get_segment_description(number).segment_label) for number in numbers}
    return volume.array, LPS_RAS @ volume.affine[:, [2, 1, 0, 3]], names
