from __future__ import annotations

import logging
import subprocess
import sys

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own name for itself)
from pydicom import dcmread

from foveal.core.errors import UserError
from foveal.core.weights.card import Card
from foveal.core.weights.label import Label
from foveal.data.io.dicom import DicomSource
from foveal.data.io.dicom.sinks import DicomSegSink, DicomSink, SecondaryCaptureSink
from foveal.data.io.nifti import NiftiSink, NiftiSource
from foveal.tests.fixtures.dicom import (
    FRAME,
    PATIENT,
    SAMPLES,
    SERIES,
    STUDY,
    Grid,
    image_dataset,
    oblique,
    save,
    slice_dataset,
    write_enhanced,
    write_series,
)

LIVER = Label(
    value=2,
    name="Liver",
    colour=(200, 10, 30),
    category=("SCT", "123037004", "Anatomical Structure"),
    type=("SCT", "10200004", "Liver"),
)
KIDNEY = Label(value=5, name="Kidney")


def card(**values: object) -> Card:
    needed = {"name": "toy", "app": "test", "network": {"class_path": "a.b"}, "tile": 8, "overlap": 0}
    return Card(**{**needed, "channels": ("grey",), **values})


LABELS = card(activation="argmax", labels=(LIVER, KIDNEY), dimensions=3)


def labels(values: np.ndarray) -> np.ndarray:
    """Label by the stored samples' remainder, so that each segment lies aside and is in other slices."""
    stored = ((values + 1024) / 2).round()
    result = np.zeros(values.shape, np.uint8)
    result[(stored % 1000 > 500) & (stored < 3000)] = 2
    result[(stored % 1000 > 800) & (stored > 2000)] = 5
    return result


def put(sink, values: np.ndarray) -> None:
    with sink:
        step = -(-values.shape[1] // 5)
        for top in range(0, values.shape[1], step):
            window = (slice(top, min(top + step, values.shape[1])), *(slice(0, size) for size in values.shape[2:]))
            sink.write(window, values[:, window[0]], sink.aside(window))
            sink.finish(window[0].stop, None)
        sink.commit()


def whole(source: DicomSource) -> np.ndarray:
    return source.read(tuple(slice(0, size) for size in source.shape[1:]))


GRIDS = {
    "axial": Grid(),
    "oblique": Grid(orientation=oblique(), spacing=(2.0, 0.6, 0.9)),
    "negative stride": Grid(orientation=(0.0, 1.0, 0.0, 1.0, 0.0, 0.0)),
    "tilted": Grid(tilt=0.7),
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("kind", ["series", "enhanced"])
def test_a_segmentation_lies_where_nifti_and_simpleitk_say(tmp_path, grid, kind):
    place = tmp_path / "in"
    write_series(place, grid) if kind == "series" else write_enhanced(place, grid)
    with DicomSource(place, resample=True) as source:
        made = labels(whole(source))
        assert {2, 5} <= set(np.unique(made))
        put(DicomSink.like(tmp_path / "seg.dcm", source, LABELS, "f"), made)
        put(NiftiSink.like(tmp_path / "seg.nii.gz", source, LABELS, "f"), made)
    segmentation = hd.seg.segread(tmp_path / "seg.dcm")
    volume = segmentation.get_volume(combine_segments=True, relabel=False)
    image = sitk.ReadImage(str(tmp_path / "seg.nii.gz"))
    array = sitk.GetArrayFromImage(image)
    for number, value in ((1, 2), (2, 5)):
        assert (volume.array == number).sum() == (made == value).sum() == (array == value).sum()
        there = volume.map_indices_to_reference(np.argwhere(volume.array == number).mean(axis=0)[None])[0]
        centre = np.argwhere(array == value).mean(axis=0)[::-1]
        np.testing.assert_allclose(there, image.TransformContinuousIndexToPhysicalPoint(centre.tolist()), atol=0.01)


def test_segments_carry_names_codes_and_references(tmp_path):
    write_series(tmp_path / "in")
    with DicomSource(tmp_path / "in") as source:
        put(DicomSink.like(tmp_path / "seg.dcm", source, LABELS, "f"), labels(whole(source)))
        uids = [frame.file.sop_instance for frame in source.stack.frames]
    dataset = dcmread(tmp_path / "seg.dcm")
    assert dataset.SegmentationType == "BINARY"
    assert dataset.SegmentsOverlap == "NO"
    assert [each.SegmentLabel for each in dataset.SegmentSequence] == ["Liver", "Kidney"]
    assert dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert dataset.SegmentSequence[0].SegmentedPropertyCategoryCodeSequence[0].CodingSchemeDesignator == "SCT"
    assert dataset.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    colour = hd.color.CIELabColor.from_dicom_value(dataset.SegmentSequence[0].RecommendedDisplayCIELabValue)
    np.testing.assert_allclose(colour.to_rgb(), LIVER.colour, atol=2)
    assert dataset.FrameOfReferenceUID == FRAME
    assert (dataset.StudyInstanceUID, dataset.PatientName, dataset.PatientID) == (STUDY, PATIENT, "P1")
    assert dataset.SeriesInstanceUID != SERIES
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == SERIES
    referenced = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {each.ReferencedSOPInstanceUID for each in referenced} == set(uids)
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        position = groups.PlanePositionSequence[0].ImagePositionPatient
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        place = Grid().position(uids.index(image.ReferencedSOPInstanceUID))
        np.testing.assert_allclose(np.array(position, float), place, atol=1e-6)
        assert image.SpatialLocationsPreserved == "YES"


def test_the_same_work_gives_the_same_bytes_and_other_work_other_uids(tmp_path):
    write_series(tmp_path / "in")
    for name, fingerprint in (("a", "f"), ("b", "f"), ("c", "g")):
        with DicomSource(tmp_path / "in") as source:
            put(DicomSink.like(tmp_path / f"{name}.dcm", source, LABELS, fingerprint), labels(whole(source)))
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    first, other = dcmread(tmp_path / "a.dcm"), dcmread(tmp_path / "c.dcm")
    assert first.SOPInstanceUID != other.SOPInstanceUID
    assert first.ContentDate == "20200304"


def test_an_empty_segmentation_is_written(tmp_path):
    write_series(tmp_path / "in")
    with DicomSource(tmp_path / "in") as source:
        sink = DicomSink.like(tmp_path / "seg.dcm", source, LABELS)
        with sink:
            sink.write(tuple(slice(0, size) for size in source.shape[1:]), None, None)
            sink.finish(source.shape[1], None)
            sink.commit()
    assert not dcmread(tmp_path / "seg.dcm").pixel_array.any()


def test_a_finer_grid_covers_the_same_place(tmp_path):
    write_series(tmp_path / "in", Grid(orientation=oblique()))
    finer = card(activation="threshold", outputs=("bright",), scale=2, dimensions=3)
    with DicomSource(tmp_path / "in") as source:
        sink = DicomSink.like(tmp_path / "seg.dcm", source, finer)
        assert source.geometry.scaled(2).difference(sink.geometry) is None
        values = np.zeros((1, *sink.geometry.shape), np.uint8)
        values[0, :, 2:10, 4:14] = 1
        put(sink, values)
    volume = hd.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    centre = volume.map_indices_to_reference(np.argwhere(volume.array).mean(axis=0)[None])[0]
    # columns 4..13, rows 2..9 and slices 0..9 of the finer grid
    expected = np.array([(4 + 13) / 4 - 0.25, (2 + 9) / 4 - 0.25, 9 / 4 - 0.25])
    grid = Grid(orientation=oblique())
    columns, rows = np.split(np.array(grid.orientation), 2)
    place = grid.position(expected[2]) + expected[0] * columns * 0.5 + expected[1] * rows * 0.75
    np.testing.assert_allclose(centre, place, atol=1e-3)


def test_an_enlarged_single_slice_is_one_slice_where_it_lay(tmp_path):
    grid = Grid(orientation=oblique())
    save(tmp_path / "one.dcm", slice_dataset(grid.volume()[2], grid, 2.0))
    with DicomSource(tmp_path / "one.dcm") as source:
        larger = whole(source).repeat(2, axis=1).repeat(2, axis=2)
        with NiftiSink.like(tmp_path / "out.nii", source, card(scale=2)) as sink:
            put(sink, larger)
        with DicomSink.like(tmp_path / "out.dcm", source, card(scale=2, activation="threshold")) as sink:
            put(sink, np.ones(larger.shape, np.uint8))
    with NiftiSource(tmp_path / "out.nii") as read:
        assert read.geometry.shape == (1, 12, 14)
        np.testing.assert_array_equal(read.read((slice(0, 1), slice(0, 12), slice(0, 14)))[:, 0], larger)
        np.testing.assert_allclose(read.geometry.spacing_mm, (3, 0.375, 0.25), rtol=1e-6)
    groups = dcmread(tmp_path / "out.dcm").SharedFunctionalGroupsSequence[0]
    assert groups.PixelMeasuresSequence[0].SliceThickness == 3


def test_probabilities_become_fractional_segments(tmp_path):
    write_series(tmp_path / "in")
    chances = card(activation="softmax", outputs=("background", "soft", "hard"), dimensions=3)
    with DicomSource(tmp_path / "in") as source:
        values = np.random.default_rng(0).random((3, *source.shape[1:])).astype(np.float32)
        values[2, 1] = 0
        put(DicomSink.like(tmp_path / "seg.dcm", source, chances), values)
    segmentation = hd.seg.segread(tmp_path / "seg.dcm")
    assert [each.SegmentLabel for each in segmentation.SegmentSequence] == ["soft", "hard"]
    assert segmentation.NumberOfFrames == 9
    stored = segmentation.get_volume(rescale_fractional=True, allow_missing_positions=True).array
    np.testing.assert_allclose(np.moveaxis(stored[::-1], -1, 0), values[1:], atol=1 / 255)  # highdicom counts down


def test_thresholds_of_several_channels_become_segments_that_may_overlap(tmp_path):
    path = save(tmp_path / "one", slice_dataset(Grid().volume()[2], Grid(), 2.0))
    several = card(activation="threshold", outputs=("left", "right"))
    values = np.zeros((2, 6, 7), np.uint8)
    values[0, :, :5], values[1, :, 2:] = 1, 1
    with DicomSource(path) as source:
        put(DicomSink.like(tmp_path / "seg.dcm", source, several), values)
    np.testing.assert_array_equal(dcmread(tmp_path / "seg.dcm").pixel_array, values)


@pytest.mark.parametrize(
    "name", ["CT_small", "examples_palette", "SC_rgb_rle", "ExplVR_BigEnd", "JPEGLSNearLossless_08"]
)
def test_pictures_of_every_kind_can_be_segmented(tmp_path, name):
    with DicomSource(SAMPLES / f"{name}.dcm") as source:
        bright = whole(source)[:1] > whole(source).mean()
        put(DicomSink.like(tmp_path / "seg.dcm", source, card(activation="threshold", outputs=("b",))), bright)
    np.testing.assert_array_equal(hd.seg.segread(tmp_path / "seg.dcm").pixel_array, bright[0])


@pytest.mark.parametrize(
    "name", ["CT_small", "MR_small", "SC_rgb_rle", "SC_rgb_rle_16bit", "examples_overlay", "JPGExtended"]
)
def test_a_secondary_capture_keeps_what_a_network_leaves(tmp_path, name):
    with DicomSource(SAMPLES / f"{name}.dcm") as source:
        values, geometry = whole(source), source.geometry
        for file in ("a.dcm", "b.dcm"):
            put(DicomSink.like(tmp_path / file, source, card(), "f"), values)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    with DicomSource(tmp_path / "a.dcm") as again:
        np.testing.assert_allclose(whole(again), values, atol=1e-5)
        if geometry is not None and geometry.frame_of_reference:
            assert geometry.difference(again.geometry) is None


def test_a_secondary_capture_belongs_to_the_study_and_cuts_off(tmp_path):
    dataset = image_dataset(np.arange(42, dtype=np.uint8).reshape(6, 7), bits=8)
    dataset.PixelSpacing = [0.8, 0.6]
    with DicomSource(save(tmp_path / "in", dataset)) as source:
        values = np.full((1, 12, 14), 300, np.float32)
        values[0, 0] = -4
        put(SecondaryCaptureSink.like(tmp_path / "out.dcm", source, card(scale=2)), values)
    made = dcmread(tmp_path / "out.dcm")
    assert (made.PatientName, made.StudyInstanceUID, made.Modality) == (PATIENT, STUDY, "CT")
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == dataset.SOPInstanceUID
    assert list(made.PixelSpacing) == [0.4, 0.3]
    assert made.pixel_array[0, 0] == 0
    assert made.pixel_array[1, 1] == 255


def test_monochrome1_is_written_as_it_is_read(tmp_path):
    dataset = image_dataset(np.array([[0, 9], [100, 4095]], np.uint16), "MONOCHROME1", bits=12)
    with DicomSource(save(tmp_path / "in", dataset)) as source:
        put(DicomSink.like(tmp_path / "out.dcm", source, card()), whole(source))
    made = dcmread(tmp_path / "out.dcm")
    assert made.PhotometricInterpretation == "MONOCHROME2"
    np.testing.assert_array_equal(made.pixel_array, [[4095, 4086], [3995, 0]])


def test_what_dicom_cannot_hold_is_refused_before_any_work(tmp_path):
    write_series(tmp_path / "in")
    with DicomSource(tmp_path / "in") as source:
        with pytest.raises(UserError, match=r"written as NIfTI"):
            DicomSink.like(tmp_path / "o.dcm", source, card(dimensions=3))
        with pytest.raises(UserError, match="names no labels"):
            DicomSegSink(tmp_path / "o.dcm", source, card(activation="argmax", dimensions=3))
        with pytest.raises(UserError, match="neither labels nor probabilities"):
            DicomSegSink(tmp_path / "o.dcm", source, card(dimensions=3))
    with DicomSource(SAMPLES / "examples_ybr_color.dcm") as source, pytest.raises(UserError, match="no place in space"):
        DicomSink.like(tmp_path / "o.dcm", source, LABELS)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in"]


def test_a_label_that_the_card_does_not_name_is_refused(tmp_path):
    write_series(tmp_path / "in")
    with DicomSource(tmp_path / "in") as source, pytest.raises(UserError, match="gave label 7"):
        put(DicomSink.like(tmp_path / "o.dcm", source, LABELS), np.full((1, *source.shape[1:]), 7, np.uint8))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in"]


def test_too_many_pixels_for_a_dicom_file_are_refused(tmp_path, monkeypatch):

    monkeypatch.setattr("foveal.data.io.dicom.made.LARGEST", 8)
    write_series(tmp_path / "in")
    with DicomSource(tmp_path / "in") as source, pytest.raises(UserError, match="too many for one DICOM file"):
        put(DicomSink.like(tmp_path / "o.dcm", source, LABELS), labels(whole(source)))
    assert not (tmp_path / "o.dcm").exists()


def test_who_the_patient_is_never_reaches_logs_or_errors(tmp_path, caplog, recwarn, monkeypatch):
    write_series(tmp_path / "in", PatientName="Singlename", PatientSex="Z", PatientBirthDate="nonsense")
    caplog.clear(), recwarn.clear()
    with caplog.at_level(logging.DEBUG), DicomSource(tmp_path / "in") as source:
        put(DicomSink.like(tmp_path / "o.dcm", source, LABELS), labels(whole(source)))
        monkeypatch.setattr(DicomSegSink, "_described", lambda *_: int("Singlename"))
        with pytest.raises(UserError, match="header lacks") as caught:
            DicomSink.like(tmp_path / "o.dcm", source, LABELS)
    told = str(caught.value) + caplog.text + "".join(str(each.message) for each in recwarn)
    assert "Singlename" not in told
    assert "nonsense" not in told
    assert dcmread(tmp_path / "o.dcm").PatientName == "Singlename"


@pytest.mark.parametrize("activation", ["threshold", "none"])
def test_names_of_any_alphabet_are_kept_and_never_told(tmp_path, caplog, recwarn, activation):
    dataset = slice_dataset(Grid().volume()[0], Grid(), 0.0)
    dataset.SpecificCharacterSet, dataset.PatientName, dataset.StudyDate = "ISO_IR 192", "Иванова^Ольга", "nonsense"
    path = save(tmp_path / "in", dataset)
    caplog.clear(), recwarn.clear()
    with caplog.at_level(logging.DEBUG), DicomSource(path) as source:
        put(DicomSink.like(tmp_path / "o.dcm", source, card(activation=activation)), np.ones((1, 6, 7), np.uint8))
    assert "nonsense" not in caplog.text + "".join(str(each.message) for each in recwarn)
    assert dcmread(tmp_path / "o.dcm").PatientName == "Иванова^Ольга"


MEMORY = """
import sys
import numpy as np
from pathlib import Path
from foveal.data.io.dicom import DicomSource
from foveal.data.io.dicom.sinks import DicomSink
from foveal.tests.data.io.dicom.test_sinks import LABELS
with DicomSource(sys.argv[1]) as source, DicomSink.like(Path(sys.argv[1]) / "o.dcm", source, LABELS) as sink:
    for row in range(source.shape[1]):
        window = (slice(row, row + 1), *(slice(0, size) for size in source.shape[2:]))
        sink.write(window, 2 + 3 * (source.read(window) > 0).astype(np.uint8), None)
        sink.finish(row + 1, None)
    sink.commit()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_slices(tmp_path):
    peaks = []
    for depth in (8, 80):
        write_series(tmp_path / str(depth), Grid(shape=(depth, 512, 512)))
        command = [sys.executable, "-W", "ignore", "-c", MEMORY, str(tmp_path / str(depth))]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] < 1.05 * peaks[0]
