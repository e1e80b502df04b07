"""Where the frames of a DICOM image lie and what their samples mean, as its header or its functional groups say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom import Dataset

from .records import Frame, ImageFile, damaged


def read_frames(image: ImageFile, header: Dataset) -> Iterator[Frame]:
    """Yield what the header, or the functional groups in it, say of each frame.

    Raises:
        UserError: it says something impossible.
    """
    count = image.options["number_of_frames"]
    shared = _item(header.get("SharedFunctionalGroupsSequence"))
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    if groups and len(groups) != count:
        raise damaged(image.path, f"{len(groups)} descriptions of {count} frames")
    image.is_enhanced = bool(groups) or shared is not None
    for index in range(count):
        places = [place for place in (groups[index] if groups else None, shared) if place is not None]
        yield _enhanced(image, header, index, places) if image.is_enhanced else _classic(image, header, index)


def _enhanced(image: ImageFile, header: Dataset, index: int, places: list[Dataset]) -> Frame:
    def find(sequence: str, name: str) -> Any:
        items = (_item(place.get(sequence)) for place in places)
        return next((item.get(name) for item in items if item is not None and item.get(name) is not None), None)

    position = _vector(image, find("PlanePositionSequence", "ImagePositionPatient"), 3)
    orientation = _vector(image, find("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    if image.thickness is None:
        measures = ("SpacingBetweenSlices", "SliceThickness")
        found = (positive(find("PixelMeasuresSequence", name)) for name in measures)
        image.thickness = next((each for each in found if each), None)
    spacing = _spacing(image, find("PixelMeasuresSequence", "PixelSpacing"))
    slope = find("PixelValueTransformationSequence", "RescaleSlope")
    intercept = find("PixelValueTransformationSequence", "RescaleIntercept")
    if slope is None and intercept is None:
        slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    return _frame(image, index, position, orientation, spacing, slope, intercept)


def _classic(image: ImageFile, header: Dataset, index: int) -> Frame:
    """Describe a frame by the header alone, whose position is that of a single frame."""
    single = image.options["number_of_frames"] == 1
    position = _vector(image, header.get("ImagePositionPatient"), 3) if single else None
    orientation = _vector(image, header.get("ImageOrientationPatient"), 6) if single else None
    names = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    spacing = next((found for name in names if (found := _spacing(image, header.get(name)))), None)
    return _frame(
        image, index, position, orientation, spacing, header.get("RescaleSlope"), header.get("RescaleIntercept")
    )


def _frame(
    image: ImageFile,
    index: int,
    position: np.ndarray | None,
    orientation: np.ndarray | None,
    spacing: tuple[float, float] | None,
    slope: Any,
    intercept: Any,
) -> Frame:
    slope, intercept = (1.0 if slope is None else float(slope)), float(intercept or 0.0)
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0:
        raise damaged(image.path, "its rescale slope or intercept is impossible")
    if position is None or orientation is None or spacing is None:
        position = orientation = None  # one without the others says nothing
    return Frame(image, index, position, _orthonormal(image, orientation), spacing, slope, intercept)


def _orthonormal(image: ImageFile, orientation: np.ndarray | None) -> np.ndarray | None:
    """Return the directions without the rounding of the file."""
    if orientation is None:
        return None
    columns, rows = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(columns), np.linalg.norm(rows)
    if not np.allclose(lengths, 1, atol=0.01) or abs(columns @ rows) > 0.01:
        raise damaged(image.path, "its orientation is impossible")
    columns = columns / lengths[0]
    rows = rows - (rows @ columns) * columns
    return np.concatenate([columns, rows / np.linalg.norm(rows)])


def _item(sequence: Any) -> Dataset | None:
    return sequence[0] if sequence else None


def _vector(image: ImageFile, values: Any, length: int) -> np.ndarray | None:
    """Return numbers of the header; None where it has none."""
    if values is None or values == "":
        return None
    vector = np.array(values, dtype=np.float64).reshape(-1)
    if len(vector) != length or not np.isfinite(vector).all() or np.abs(vector).max() > 1e6:
        raise damaged(image.path, "its position or orientation is impossible")
    return vector


def _spacing(image: ImageFile, values: Any) -> tuple[float, float] | None:
    if values is None or values == "":
        return None
    spacing = np.array(values, dtype=np.float64).reshape(-1)
    if len(spacing) == 2 and not spacing.any():
        return None  # zeros, where a scanner does not know
    if len(spacing) != 2 or not ((spacing > 1e-6) & (spacing < 1e4)).all():
        raise damaged(image.path, "its pixel spacing is impossible")
    return float(spacing[0]), float(spacing[1])


def positive(value: Any) -> float | None:
    """Return a length in millimetres; None where the file gives no plausible one."""
    try:
        length = float(value)
    except (TypeError, ValueError):
        return None
    return length if 1e-6 < length < 1e4 else None
