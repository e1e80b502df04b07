"""DICOM segmentations: the labels or probabilities of a network, with names and codes, over the images they are of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.content import AlgorithmIdentificationSequence, PixelMeasuresSequence, PlaneOrientationSequence
from highdicom.content import PlanePositionSequence as Position
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from ....core.errors import UserError
from ....core.weights.card import Card
from ....core.weights.label import Label
from ...geometry import LPS_RAS
from ..sink import SpooledSink
from .made import MANUFACTURER, date_and_time, derived_uid, identity, write_streamed
from .records import quiet
from .references import STAND_IN, references
from .source import DicomSource

HIGHEST = 255  # stored sample of the probability 1
LONGEST_NAME = 64  # characters that the standard allows


@dataclass(frozen=True)
class _Segment:
    """A segment, and where its samples come from: a value of the label map, or a channel."""

    label: Label
    channel: int | None


class DicomSegSink(SpooledSink):
    """A DICOM segmentation, written window by window.

    Each class of the card becomes a segment with its name, codes and colour. Label maps and thresholds become binary
    segments, probabilities fractional ones. Frames in which a segment is empty are left out. The file refers to each
    source image and lies in its frame of reference. Memory holds one slice and the description of the frames, about
    10 kB for each slice of each segment that is there.

    Args:
        path: the file.
        source: the images that the segmentation is of.
        card: of the network: its activation and labels say what the segments are.
        fingerprint: tells the same work again; "" never goes on from an earlier run.

    Raises:
        UserError: the card gives neither labels nor probabilities; several images have no place in space; the headers
            of the source lack what a segmentation needs; or the disk has no room.
    """

    def __init__(self, path: str | Path, source: DicomSource, card: Card, fingerprint: str = "") -> None:
        self.source, self.card = source, card
        self.segments = _segments(Path(path), source, card)
        if source.spatial == 3 and source.geometry is None:
            raise UserError(f"{path}: the images of {source.path} have no place in space; a segmentation needs one.")
        self.identity = identity(source, card, fingerprint)
        self.is_binary = card.makes_labels
        self._number = _numbers(self.segments) if card.activation == "argmax" else None
        geometry = source.geometry.scaled(card.scale) if source.geometry else None
        sizes = geometry.shape if geometry else (1, *(card.scale * size for size in source.shape[-2:]))
        self.planes = sizes[0] if source.spatial == 3 else 1
        self.size = sizes[1:]
        present = np.zeros((self.planes, len(self.segments)), np.uint8)
        present[0, 0] = 1
        self.geometry = geometry
        self._check_describable(present)
        channels = 1 if self._number is not None else len(self.segments)
        dtype = self._number.dtype if self._number is not None else np.dtype(np.uint8)
        super().__init__(path, (channels, *sizes[-source.spatial :]), dtype, geometry, fingerprint)

    @classmethod
    def like(cls, path: str | Path, source: DicomSource, card: Card, fingerprint: str = "") -> DicomSegSink:
        """Make a sink for what a network makes of a source."""
        return cls(path, source, card, fingerprint)

    def converted(
        self, values: np.ndarray | None, aside: np.ndarray | None, window: tuple[slice, ...]
    ) -> np.ndarray | None:
        """Return the numbers of segments, (1, *extent); or, for channels, 0 and 1 or 0..255, (segments, *extent).

        Raises:
            UserError: a label has no segment.
        """
        if values is None:
            return None
        if self._number is not None:
            labels = np.asarray(values).astype(np.int64)
            if labels.min() < 0 or labels.max() >= len(self._number):
                raise UserError(f"{self.path}: the network gave label {labels.max()}, which its card does not name.")
            return self._number[labels]
        chosen = values[[segment.channel for segment in self.segments]]
        return chosen if self.is_binary else np.rint(chosen.clip(0, 1) * HIGHEST)

    def encode(self, part: Path) -> None:
        """Write the file, frame after frame."""
        present = np.stack([self._present(self._plane(plane)) for plane in range(self.planes)])
        with quiet():
            dataset = self._described(present)
        frames = self._frames(dataset)
        bits = len(frames) * math.prod(self.size) * (1 if self.is_binary else 8)
        dataset.Rows, dataset.Columns = self.size
        del dataset.PixelData
        write_streamed(part, dataset, b"OB", math.ceil(bits / 8), self._pixels(frames))

    def _plane(self, number: int) -> np.ndarray:
        """Return the samples of a slice, (C, H, W)."""
        if self.source.spatial == 2:
            return self.spool.rows(0, self.size[0])
        return self.spool.rows(number, number + 1)[:, 0]

    def _present(self, plane: np.ndarray) -> np.ndarray:
        """Return which segments a slice shows, (segments,) of 0 and 1."""
        if self._number is None:
            return plane.any(axis=(1, 2)).astype(np.uint8)
        return (np.bincount(plane.ravel(), minlength=len(self.segments) + 1)[1:] > 0).astype(np.uint8)

    def _pixels(self, frames: list[tuple[int, int]]) -> Iterator[bytes]:
        """Yield the pixel data of (segment, slice), bits packed over the ends of frames as the standard wants."""
        left = np.empty(0, np.uint8)
        for segment, number in frames:
            plane = self._plane(number)
            frame = plane[segment] if self._number is None else (plane[0] == segment + 1).astype(np.uint8)
            if not self.is_binary:
                yield np.ascontiguousarray(frame).tobytes()
                continue
            samples = np.concatenate([left, frame.ravel()])
            whole = len(samples) // 8 * 8
            left = samples[whole:]
            yield np.packbits(samples[:whole], bitorder="little").tobytes()
        yield np.packbits(left, bitorder="little").tobytes()

    def _frames(self, dataset: Dataset) -> list[tuple[int, int]]:
        """Return (segment, slice) of each frame of a description."""
        places = np.array([self._position(plane) for plane in range(self.planes)])
        shared = dataset.SharedFunctionalGroupsSequence[0]
        frames = []
        for groups in dataset.PerFrameFunctionalGroupsSequence:
            place = groups if "SegmentIdentificationSequence" in groups else shared
            segment = place.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1
            position = groups.get("PlanePositionSequence")
            plane = 0
            if position:  # nearest, as highdicom takes a source image's position for one beside it
                shifts = places - np.array(position[0].ImagePositionPatient, dtype=np.float64)
                plane = int(np.linalg.norm(shifts, axis=1).argmin())
            frames.append((segment, plane))
        return frames

    def _check_describable(self, present: np.ndarray) -> None:
        """Find out now what would go wrong when all is computed."""
        try:
            with quiet():
                self._described(present)
        except Exception as error:  # highdicom refuses headers in many ways, and its messages repeat values
            raise UserError(
                f"{self.source.files[0].path}: its header lacks what a DICOM segmentation needs "
                f"({type(error).__name__}); write NIfTI (.nii.gz) instead."
            ) from None

    def _described(self, present: np.ndarray) -> Segmentation:
        """Return a segmentation whose frames show something where a segment is present, (slices, segments)."""
        sources = references(self.source, self._has_source_grid())
        first, *others = sources
        several = any(file.is_enhanced for file in self.source.files)
        place = self._place() if "FrameOfReferenceUID" in first else {}
        frames = np.tile(present[:, None, None], (1, *STAND_IN, 1))
        date, time = date_and_time(first)
        dataset = Segmentation(
            source_images=[first] if several else sources,
            further_source_images=others if several else None,
            pixel_array=frames,
            segmentation_type="BINARY" if self.is_binary else "FRACTIONAL",
            max_fractional_value=HIGHEST,
            segment_descriptions=[_description(n, each, self.card) for n, each in enumerate(self.segments, start=1)],
            series_instance_uid=derived_uid("segmentation series", self.identity),
            sop_instance_uid=derived_uid("segmentation", self.identity),
            series_number=int(first.get("SeriesNumber") or 0) % 100000 + 900,
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=self.card.name[:LONGEST_NAME],
            software_versions=_version(),
            device_serial_number=self.identity[:16],
            content_label="SEGMENTATION",
            series_description=f"Segmentation by {self.card.name}"[:LONGEST_NAME],
            content_date=date,
            content_time=time,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            **place,
        )
        shared = dataset.SharedFunctionalGroupsSequence[0]
        if "PixelMeasuresSequence" in shared and not shared.PixelMeasuresSequence:
            del shared.PixelMeasuresSequence
        dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
        dataset.ContributingEquipmentSequence[-1].ContributionDateTime = date + time  # highdicom's own, which says now
        dataset.SegmentsOverlap = "NO" if self._number is not None or len(self.segments) == 1 else "UNDEFINED"
        organization = derived_uid("dimensions", self.identity)
        dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
        for index in dataset.DimensionIndexSequence:
            index.DimensionOrganizationUID = organization
        return dataset

    def _has_source_grid(self) -> bool:
        return self.size == self.source.files[0].size

    def _place(self) -> dict[str, object]:
        """Return where the slices lie, as arguments of highdicom."""
        affine = LPS_RAS @ self.geometry.affine
        depth, height, width = self.geometry.spacing_mm
        directions = np.concatenate([affine[:3, 0] / width, affine[:3, 1] / height])
        return {
            "pixel_measures": PixelMeasuresSequence((height, width), depth, depth),
            "plane_orientation": PlaneOrientationSequence("PATIENT", directions.tolist()),
            "plane_positions": [Position("PATIENT", self._position(plane)) for plane in range(self.planes)],
        }

    def _position(self, plane: int) -> list[float]:
        """Return the centre of a slice's first pixel, LPS, millimetres."""
        if self.geometry is None:
            return []
        position = LPS_RAS @ self.geometry.affine @ np.array([0, 0, plane, 1.0])
        return [round(float(value), 6) for value in position[:3]]  # as long as the standard's decimals may be


def _segments(path: Path, source: DicomSource, card: Card) -> list[_Segment]:
    """Return the segments in the order of their labels' values."""
    names = card.outputs or tuple(f"class {n}" for n in range(source.shape[0]))
    labels = {label.value: label for label in card.labels}

    def label(value: int, name: str) -> Label:
        return labels.get(value) or Label(value=value, name=name)

    if card.activation == "argmax":
        values = sorted(set(labels) | set(range(1, len(card.outputs))))
        if not values:
            raise UserError(f"{path}: the card of {card.name} names no labels; a segmentation needs them.")
        return [_Segment(label(n, names[n] if n < len(names) else f"class {n}"), None) for n in values]
    if card.activation == "softmax":
        return [_Segment(label(n, name), n) for n, name in enumerate(names) if n > 0]
    if card.activation in ("sigmoid", "threshold"):
        return [_Segment(label(n + 1, name), n) for n, name in enumerate(names)]
    raise UserError(f"{path}: {card.name} gives neither labels nor probabilities; write NIfTI (.nii.gz) instead.")


def _numbers(segments: list[_Segment]) -> np.ndarray:
    """Return the segment's number for each value of the label map."""
    numbers = np.zeros(segments[-1].label.value + 1, np.uint8 if len(segments) < 256 else np.uint16)
    numbers[[segment.label.value for segment in segments]] = np.arange(1, len(segments) + 1)
    return numbers


def _description(number: int, segment: _Segment, card: Card) -> SegmentDescription:
    label = segment.label
    (scheme, value, meaning), (type_scheme, type_value, type_meaning) = label.category, label.type
    return SegmentDescription(
        segment_number=number,
        segment_label=label.name[:LONGEST_NAME],
        segmented_property_category=Code(value, scheme, meaning),
        segmented_property_type=Code(type_value, type_scheme, type_meaning),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            card.name[:LONGEST_NAME], family=codes.DCM.ArtificialIntelligence, version=_version()
        ),
        display_color=hd.color.CIELabColor.from_rgb(*label.colour),
    )


def _version() -> str:
    from .... import __version__

    return __version__
