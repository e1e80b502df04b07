"""DICOM secondary captures: images that a network makes of DICOM images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pydicom.valuerep import format_number_as_ds

from ....core.errors import UserError
from ....core.weights.card import Card
from ..sink import SpooledSink
from .made import MANUFACTURER, PATIENT, STUDY, date_and_time, derived_uid, identity, sanitised, write_streamed
from .records import quiet
from .source import DicomSource

ROWS = 64  # read from the spool at a time
MOST_PIXELS = 65535  # along a side
PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID")
LONGEST_NAME = 64  # characters that the standard allows


class SecondaryCaptureSink(SpooledSink):
    """A DICOM secondary capture: one image, grey or RGB, of 8 or 16 bits, uncompressed.

    Grey values are those that the source gives (such as HU) and are stored with the source's slope, intercept, sign
    and bits, so that what a network leaves as it is keeps its samples; grey of another name than the network's
    channels is something else, and its slope and intercept spread the card's value range over 16 bits. RGB is 0..1.
    Values beyond are cut off.
    Patient, study, pixel spacing and, at the same scale, the place in the patient are those of the source.

    Args:
        path: the file.
        source: a single image.
        card: of the network: its outputs say whether grey or RGB is written.
        fingerprint: tells the same work again; "" never goes on from an earlier run.

    Raises:
        UserError: the source is a volume; the network gives something else than grey or RGB; or the disk has no room.
    """

    def __init__(self, path: str | Path, source: DicomSource, card: Card, fingerprint: str = "") -> None:
        channels = len(card.outputs) or source.shape[0]
        if source.spatial != 2:
            raise UserError(f"{path}: values over a volume are written as NIfTI; end the name in .nii.gz.")
        if channels not in (1, 3):
            raise UserError(f"{path}: a DICOM image has 1 or 3 channels, {card.name} gives {channels}; write NIfTI.")
        size = tuple(card.scale * each for each in source.shape[1:])
        if max(size) > MOST_PIXELS:
            raise UserError(f"{path}: {size[1]} x {size[0]} pixels are too many for a DICOM image.")
        self.source, self.card = source, card
        self.identity = identity(source, card, fingerprint)
        self.bits, self.is_signed, self.slope, self.intercept = _storage(source, card, channels)
        dtype = np.dtype(f"{'ui'[self.is_signed]}{1 if self.bits <= 8 else 2}")
        geometry = source.geometry.scaled(card.scale) if source.geometry else None
        super().__init__(path, (channels, *size), dtype, geometry, fingerprint)

    @classmethod
    def like(cls, path: str | Path, source: DicomSource, card: Card, fingerprint: str = "") -> SecondaryCaptureSink:
        """Make a sink for what a network makes of a source."""
        return cls(path, source, card, fingerprint)

    def converted(
        self, values: np.ndarray | None, aside: np.ndarray | None, window: tuple[slice, ...]
    ) -> np.ndarray | None:
        """Return the stored samples of a window; where nothing was computed, those nearest to the value 0."""
        if values is None:
            values = np.zeros((self.spool.shape[0], *(each.stop - each.start for each in window)), np.float32)
        lowest = -(1 << self.bits - 1) if self.is_signed else 0
        samples = np.rint((values - np.float64(self.intercept)) / self.slope)
        return samples.clip(lowest, lowest + (1 << self.bits) - 1).astype(self.spool.dtype)

    def encode(self, part: Path) -> None:
        """Write the file, some rows at a time."""
        length = int(np.prod(self.spool.shape, dtype=np.int64)) * self.spool.dtype.itemsize
        representation = b"OB" if self.spool.dtype.itemsize == 1 else b"OW"
        with quiet():
            dataset = self._described()
        write_streamed(part, dataset, representation, length, self._pixels())

    def _pixels(self) -> Iterator[bytes]:
        height = self.spool.shape[1]
        for top in range(0, height, ROWS):
            rows = self.spool.rows(top, min(top + ROWS, height))
            yield np.ascontiguousarray(np.moveaxis(rows, 0, -1)).tobytes()

    def _described(self) -> Dataset:
        """Return all elements but the pixels."""
        header = sanitised(self.source.header())
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        for name in ("SpecificCharacterSet", *PATIENT, *STUDY, "Laterality", "PatientOrientation", "BodyPartExamined"):
            if name in header:
                dataset[name] = header[name]
        for name in ("Laterality", "PatientOrientation"):
            if name not in dataset:
                setattr(dataset, name, "")
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.SOPInstanceUID = derived_uid("capture", self.identity)
        dataset.SeriesInstanceUID = derived_uid("capture series", self.identity)
        dataset.SeriesNumber = int(header.get("SeriesNumber") or 0) % 100000 + 900
        dataset.SeriesDescription = f"Made by {self.card.name}"[:LONGEST_NAME]
        dataset.InstanceNumber = 1
        dataset.Modality = header.get("Modality") or "OT"
        dataset.ConversionType = "WSD"
        dataset.Manufacturer = dataset.SecondaryCaptureDeviceManufacturer = MANUFACTURER
        dataset.SecondaryCaptureDeviceManufacturerModelName = self.card.name[:LONGEST_NAME]
        dataset.ImageType = ["DERIVED", "SECONDARY"]
        dataset.ContentDate, dataset.ContentTime = date_and_time(header)
        dataset.BurnedInAnnotation = header.get("BurnedInAnnotation") or "YES"  # nobody has looked
        file = self.source.files[0]
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = file.sop_class, file.sop_instance
        dataset.SourceImageSequence = [reference]
        self._add_place(dataset, header)
        self._add_pixels(dataset)
        return dataset

    def _add_place(self, dataset: Dataset, header: Dataset) -> None:
        spacing = self.source.stack.frames[0].spacing
        if spacing is not None:
            dataset.PixelSpacing = [_decimal(each / self.card.scale) for each in spacing]
        for name in PLACE:
            if name in header and self.card.scale == 1:
                dataset[name] = header[name]

    def _add_pixels(self, dataset: Dataset) -> None:
        dataset.SamplesPerPixel, dataset.Rows, dataset.Columns = self.spool.shape
        is_colour = dataset.SamplesPerPixel == 3
        dataset.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
        if is_colour:
            dataset.PlanarConfiguration = 0
        else:
            dataset.RescaleSlope, dataset.RescaleIntercept = _decimal(self.slope), _decimal(self.intercept)
            dataset.RescaleType = "HU" if dataset.Modality == "CT" else "US"
        dataset.BitsAllocated = 8 * self.spool.dtype.itemsize
        dataset.BitsStored, dataset.HighBit = self.bits, self.bits - 1
        dataset.PixelRepresentation = int(self.is_signed)


def _storage(source: DicomSource, card: Card, channels: int) -> tuple[int, bool, float, float]:
    """Return bits, sign, slope and intercept by which samples hold values."""
    if channels == 1 and not set(card.outputs) <= {*card.channels}:
        low, high = card.value_range
        return 16, False, (high - low) / 65535, low
    frame = source.stack.frames[0]
    options = frame.file.options
    if channels == 3:
        bits = 8 if frame.file.dtype.itemsize == 1 else 16
        return bits, False, 1 / ((1 << bits) - 1), 0.0
    is_plain = source.shape[0] == 1 and frame.file.dtype.kind in "iu" and frame.file.lookup is None
    if is_plain and 8 <= options["bits_stored"] <= 16:
        return options["bits_stored"], bool(options["pixel_representation"]), frame.slope, frame.intercept
    low, high = source.value_range
    return 16, False, (high - low) / 65535, low


def _decimal(value: float) -> str:
    return format_number_as_ds(float(value))
