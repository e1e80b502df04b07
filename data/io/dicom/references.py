"""Headers of source images, as highdicom wants them: what a segmentation is of, whose it is and where it lies.

What the headers say in one of many ways, or wrongly, is said anew, each time in the same way.
"""

from __future__ import annotations

from highdicom.content import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from pydicom import Dataset

from .made import derived_uid, sanitised
from .records import ImageFile
from .source import DicomSource

STAND_IN = (1, 8)  # pixels of a frame by which highdicom describes those that are written after it
STATED = (
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "NumberOfFrames", "FrameOfReferenceUID",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
)  # fmt: skip
"""What `_add_place` says, each time in the same way."""


def references(source: DicomSource, has_source_grid: bool) -> list[Dataset]:
    """Return a header for each source file, with frames of the stand-in's size, or another where the grids differ."""
    header = sanitised(source.header())
    for name in STATED:
        if name in header:
            delattr(header, name)
    found = []
    for file in source.files:
        reference = Dataset() if found else header
        for name in ("StudyInstanceUID", "SeriesInstanceUID"):
            setattr(reference, name, getattr(header, name))
        reference.Modality = header.get("Modality") or "OT"
        reference.SOPClassUID, reference.SOPInstanceUID = file.sop_class, file.sop_instance
        reference.Rows, reference.Columns = (STAND_IN[0] + (not has_source_grid), STAND_IN[1])
        _add_place(reference, file, source)
        found.append(reference)
    return found


def _add_place(reference: Dataset, file: ImageFile, source: DicomSource) -> None:
    """Say where a source file's frames lie, both as single-frame files do and as multi-frame files do."""
    first = file.frames[0]
    shared = Dataset()
    shared.PixelMeasuresSequence = None
    if first.spacing is not None:
        depth = source.geometry.spacing_mm[0] if source.geometry else 1.0
        shared.PixelMeasuresSequence = PixelMeasuresSequence(first.spacing, depth, depth)
        for element in shared.PixelMeasuresSequence[0]:
            reference.add(element)
    reference.SharedFunctionalGroupsSequence = [shared]
    reference.NumberOfFrames = len(file.frames)
    if first.position is None:
        return
    reference.FrameOfReferenceUID = file.frame_of_reference or derived_uid("frame of reference", file.series)
    shared.PlaneOrientationSequence = PlaneOrientationSequence("PATIENT", first.orientation.tolist())
    reference.ImageOrientationPatient = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    groups = [Dataset() for _ in file.frames]
    for group, frame in zip(groups, file.frames, strict=True):
        group.PlanePositionSequence = PlanePositionSequence("PATIENT", frame.position.tolist())
    reference.PerFrameFunctionalGroupsSequence = groups
    reference.ImagePositionPatient = groups[0].PlanePositionSequence[0].ImagePositionPatient
