"""What DICOM files made from others have in common: whose they are, when, and under which UIDs.

Patient and study are copied from the source, as the standard asks of everything that belongs to a study. UIDs and
dates follow from the source and the work, so that the same work gives the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Iterable
from pathlib import Path

from pydicom import Dataset, dcmwrite
from pydicom.uid import UID
from pydicom.valuerep import DA, TM

from ....core.errors import UserError
from ....core.weights.card import Card
from .records import quiet
from .source import DicomSource

MANUFACTURER = "Foveal"
LARGEST = (1 << 32) - 2  # bytes of the pixel data of one file
PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize", "PatientWeight")
STUDY = ("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
         "StudyDescription")  # fmt: skip
DATES = (("ContentDate", "ContentTime"), ("AcquisitionDate", "AcquisitionTime"), ("SeriesDate", "SeriesTime"),
         ("StudyDate", "StudyTime"))  # fmt: skip


def derived_uid(*parts: str) -> UID:
    """Return a UID that follows from texts."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return UID(f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}")


def identity(source: DicomSource, card: Card, fingerprint: str) -> str:
    """Return what tells the work on a source from any other."""
    instances = sorted(file.sop_instance for file in source.files)
    text = "\0".join([source.files[0].series, *instances, card.to_json(), fingerprint])
    return hashlib.sha256(text.encode()).hexdigest()


def date_and_time(header: Dataset) -> tuple[str, str]:
    """Return when the source was made; the standard wants a date, and that of the computation would change it."""
    for date, time in DATES:
        if value := _valid(DA, header.get(date)):
            return value, _valid(TM, header.get(time)) or "000000"
    return "19700101", "000000"


def sanitised(header: Dataset) -> Dataset:
    """Return a header with all that writers insist on, values that they refuse left empty."""
    header = Dataset({element.tag: element for element in header})
    for name in (*PATIENT[:4], *STUDY[1:6]):
        if header.get(name) is None:
            setattr(header, name, "")
    for name, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        setattr(header, name, _valid(kind, header.get(name)))
    if header.PatientSex not in ("M", "F", "O"):
        header.PatientSex = ""
    series = str(header.get("SeriesInstanceUID") or "")
    header.StudyInstanceUID = header.get("StudyInstanceUID") or derived_uid("study", series)
    header.SeriesInstanceUID = series or derived_uid("series", str(header.StudyInstanceUID))
    return header


def write_streamed(part: Path, dataset: Dataset, representation: bytes, length: int, chunks: Iterable[bytes]) -> None:
    """Write a file whose pixel data come piece by piece.

    Args:
        part: the file.
        dataset: all other elements, little-endian and explicit.
        representation: of the pixel data, b"OB" or b"OW".
        length: of all pieces, bytes.
        chunks: the pieces.

    Raises:
        UserError: a DICOM file cannot hold so much.
    """
    if length > LARGEST:
        raise UserError(
            f"{part.parent}: {length / 1e9:.1f} GB of pixels are too many for one DICOM file; write NIfTI (.nii.gz)."
        )
    padding = length % 2
    with quiet():
        dcmwrite(part, dataset, enforce_file_format=True)
    with part.open("ab") as file:
        file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, representation, 0, length + padding))
        for chunk in chunks:
            file.write(chunk)
        file.write(bytes(padding))


def _valid(kind: type, value: object) -> str:
    """Return a date or time of the source; "" where it has none, or a wrong one."""
    try:
        return str(value) if value and kind(str(value)) is not None else ""
    except ValueError:
        return ""
