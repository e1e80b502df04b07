from __future__ import annotations

import logging
import struct
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own name for itself)
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from foveal.core.errors import UserError
from foveal.data.geometry import LPS_RAS
from foveal.data.io.dicom import DicomSource, list_series
from foveal.tests.fixtures.dicom import (
    FRAME,
    INTERCEPT,
    PATIENT,
    SAMPLES,
    SERIES,
    SLOPE,
    Grid,
    image_dataset,
    oblique,
    save,
    slice_dataset,
    write_enhanced,
    write_series,
)

FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
BACKWARD = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0)  # whose normal points to the feet
GRIDS = {
    "axial": Grid(),
    "oblique": Grid(orientation=oblique()),
    "flipped": Grid(orientation=FLIPPED),
    "sagittal": Grid(orientation=SAGITTAL, spacing=(0.7, 1.0, 2.5)),
    "negative stride": Grid(orientation=BACKWARD),
    "far away": Grid(origin=(812.125, -4000.5, 1e4)),
}


def whole(source: DicomSource) -> np.ndarray:
    return source.read(tuple(slice(0, size) for size in source.shape[1:]))


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_a_series_is_sorted_by_position_and_lies_where_simpleitk_says(tmp_path, grid):
    volume = write_series(tmp_path / "series", grid)
    with DicomSource(tmp_path / "series") as source:
        assert source.shape == (1, *grid.shape)
        assert source.spatial == 3
        np.testing.assert_array_equal(whole(source)[0], volume * SLOPE + INTERCEPT)
        geometry = source.geometry
    assert geometry.shape == grid.shape
    assert geometry.frame_of_reference == FRAME
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "series")))
    image = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume * SLOPE + INTERCEPT)
    for index in [(0, 0, 0), tuple(size - 1 for size in grid.shape[::-1]), (2, 4, 1)]:
        place = (LPS_RAS @ geometry.affine @ [*index, 1.0])[:3]
        np.testing.assert_allclose(place, image.TransformIndexToPhysicalPoint(index), atol=1e-4)


def test_windows_are_parts_of_the_whole(tmp_path):
    write_series(tmp_path / "series")
    with DicomSource(tmp_path / "series") as source:
        everything = whole(source)
        for window in [np.s_[3:5, 0:2, 1:7], np.s_[0:1, 5:6, 0:1], np.s_[1:4, 2:3, 2:5]]:
            part = source.read(window)
            assert part.dtype == np.float32
            np.testing.assert_array_equal(part, everything[:, *window])


def test_few_slices_are_kept_decoded(tmp_path, monkeypatch):
    write_series(tmp_path / "series", Grid(shape=(20, 4, 4)))
    decoded = []
    from foveal.data.io.dicom import source as dicom

    monkeypatch.setattr(dicom, "decode", lambda frame, decode=dicom.decode: decoded.append(frame) or decode(frame))
    with DicomSource(tmp_path / "series") as source:
        for top in range(0, 18, 2):
            for left in (0, 2):
                source.read((slice(top, top + 4), slice(0, 4), slice(left, left + 2)))
                assert len(source._decoded.arrays) <= 5
    assert len(decoded) == 20  # each once, although neighbouring windows share slices


def test_an_enhanced_file_is_sorted_and_rescaled_by_frame(tmp_path):
    grid = Grid(orientation=oblique())
    volume = write_enhanced(tmp_path / "enhanced", grid)
    with DicomSource(tmp_path / "enhanced") as source:
        slopes = SLOPE * (np.arange(grid.shape[0]) + 1)[:, None, None]
        np.testing.assert_array_equal(whole(source)[0], volume * slopes + INTERCEPT)
        np.testing.assert_allclose((LPS_RAS @ source.geometry.affine)[:3, 3], grid.origin, atol=1e-6)
        np.testing.assert_allclose(source.geometry.spacing_mm, grid.spacing, rtol=1e-6)


def test_a_single_slice_is_an_image_with_a_place(tmp_path):
    grid = Grid()
    path = save(tmp_path / "one", slice_dataset(grid.volume()[2], grid, 2.0))
    with DicomSource(path) as source:
        assert source.shape == (1, 6, 7)
        assert source.spatial == 2
        assert source.geometry.shape == (1, 6, 7)
        assert source.geometry.scaled(2).shape == (1, 12, 14)
        np.testing.assert_allclose((LPS_RAS @ source.geometry.affine)[:3, 3], grid.position(2.0))
        np.testing.assert_allclose(source.geometry.spacing_mm, grid.spacing)


def test_a_picture_without_place_has_its_spacing_alone(tmp_path):
    dataset = image_dataset(np.arange(12, dtype=np.uint8).reshape(3, 4))
    with DicomSource(save(tmp_path / "plain", dataset)) as source:
        assert source.geometry is None
    dataset.ImagerPixelSpacing = [0.25, 0.5]
    with DicomSource(save(tmp_path / "spaced", dataset)) as source:
        np.testing.assert_array_equal(source.geometry.affine, np.diag([0.5, 0.25, 1, 1]))
        assert source.geometry.scaled(2).shape == (1, 6, 8)


def test_monochrome1_is_turned_over_within_its_bits(tmp_path):
    stored = np.array([[0, 1, 4095]], np.uint16)
    dataset = image_dataset(np.repeat(stored, 2, axis=0), "MONOCHROME1", bits=12)
    with DicomSource(save(tmp_path / "negative", dataset)) as source:
        np.testing.assert_array_equal(whole(source)[0, 0], [4095, 4094, 0])
        assert source.value_range == (0, 4095)
    signed = image_dataset(np.array([[-2048, 0], [5, 2047]], np.int16), "MONOCHROME1", bits=12)
    with DicomSource(save(tmp_path / "signed", signed)) as source:
        np.testing.assert_array_equal(whole(source)[0], [[2047, -1], [-6, -2048]])


def test_floating_samples_are_read_and_what_is_no_number_is_zero(tmp_path):
    dataset = image_dataset(np.zeros((2, 2), np.uint16))
    del dataset.PixelData
    dataset.BitsAllocated = 32
    dataset.FloatPixelData = np.array([[1.5, np.nan], [np.inf, -2]], np.float32).tobytes()
    with DicomSource(save(tmp_path / "float", dataset)) as source:
        np.testing.assert_array_equal(whole(source)[0], [[1.5, 0], [0, -2]])


@pytest.mark.parametrize(
    ("name", "mean"),
    [("SC_rgb_rle.dcm", 0.5008), ("SC_rgb_jpeg_gdcm.dcm", 0.5008), ("SC_rgb_rle_16bit.dcm", 0.5008),
     ("SC_ybr_full_422_uncompressed.dcm", 0.5009), ("SC_rgb_jpeg_dcmtk.dcm", 0.5009),
     ("SC_rgb_jls_lossy_line.dcm", 0.502), ("examples_palette.dcm", 0.0801), ("SC_rgb_gdcm_KY.dcm", 0.5008)],
)  # fmt: skip
def test_colour_becomes_rgb_between_0_and_1(name, mean):
    with DicomSource(SAMPLES / name) as source:
        values = whole(source)
        assert len(values) == 3
        assert 0 <= values.min() < values.max() <= 1
        assert values.mean() == pytest.approx(mean, abs=1e-4)


def test_lossless_jpeg_and_run_lengths_hold_the_same_picture():
    with DicomSource(SAMPLES / "SC_rgb_rle.dcm") as first, DicomSource(SAMPLES / "SC_rgb_jpeg_gdcm.dcm") as second:
        np.testing.assert_array_equal(whole(first), whole(second))


MR = ["MR_small_RLE", "MR_small_bigendian", "MR_small_expb", "MR_small_implicit", "MR_small_jp2klossless",
      "MR_small_jpeg_ls_lossless", "MR_small_padded"]  # fmt: skip


@pytest.mark.parametrize("name", MR)
def test_every_lossless_transfer_syntax_holds_the_same_image(name):
    with DicomSource(SAMPLES / "MR_small.dcm") as plain, DicomSource(SAMPLES / f"{name}.dcm") as other:
        np.testing.assert_array_equal(whole(plain), whole(other))
        assert plain.geometry.difference(other.geometry) is None


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "693_J2KI.dcm", "JPEGLSNearLossless_16.dcm", "image_dfl.dcm"])
def test_lossy_deflated_and_deep_samples_are_read(name):
    with DicomSource(SAMPLES / name) as source:
        assert np.ptp(whole(source)) > 200


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_volumes_are_those_of_the_uncompressed(tmp_path, syntax):
    volume = write_series(tmp_path / "series", Grid(shape=(3, 40, 48)))
    for path in (tmp_path / "series").iterdir():
        dataset = dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(path)
    with DicomSource(tmp_path / "series") as source:
        np.testing.assert_array_equal(whole(source)[0], volume * SLOPE + INTERCEPT)


def test_frames_of_a_compressed_cine_loop_are_found_one_by_one():
    with DicomSource(SAMPLES / "examples_ybr_color.dcm") as source:
        assert source.shape == (3, 30, 240, 320)
        assert source.geometry is None
        frame = pixel_array(SAMPLES / "examples_ybr_color.dcm", index=17)
        np.testing.assert_allclose(
            source.read(np.s_[17:18, 0:240, 0:320])[:, 0], frame.transpose(2, 0, 1) / 255, atol=1e-6
        )


def test_a_file_without_preamble_is_read(tmp_path):
    content = (SAMPLES / "MR_small.dcm").read_bytes()
    (tmp_path / "bare").write_bytes(content[132:])
    with DicomSource(SAMPLES / "MR_small.dcm") as whole_file, DicomSource(tmp_path / "bare") as bare:
        np.testing.assert_array_equal(whole(whole_file), whole(bare))


def test_several_series_are_listed_and_one_is_chosen(tmp_path):
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", Grid(shape=(4, 3, 3)), series="1.2.4", SeriesNumber=9, Modality="MR")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "report").write_bytes((SAMPLES / "test-SR.dcm").read_bytes())
    with pytest.raises(UserError, match=r"2 series.*1: CT, 5 images of 7 x 6.*2: MR, 4 images of 3 x 3, 1\.2\.4\."):
        DicomSource(tmp_path)
    for choice in ("1.2.4", 2, "2"):
        with DicomSource(tmp_path, series=choice) as source:
            assert source.shape == (1, 4, 3, 3)
    with pytest.raises(UserError, match="has no series 3"):
        DicomSource(tmp_path, series=3)
    assert [each.uid for each in list_series(tmp_path)] == [SERIES, "1.2.4"]


def refused(tmp_path, match, **options):
    with pytest.raises(UserError, match=match) as caught:
        DicomSource(tmp_path, **options)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_slices_are_refused_even_when_resampling(tmp_path):
    write_series(tmp_path / "s", slices=[0, 1, 2, 5, 6])
    match = r"2 of the slices are missing between 36\.25 and 45\.25 mm .*3 mm apart"
    refused(tmp_path / "s", match)
    refused(tmp_path / "s", match, resample=True)


def test_a_missing_one_of_four_slices_is_missing(tmp_path):
    write_series(tmp_path / "s", Grid(shape=(3, 4, 4)), slices=[0, 1, 3])
    refused(tmp_path / "s", "1 of the slices are missing", resample=True)


def test_doubled_slices_are_refused_even_when_resampling(tmp_path):
    write_series(tmp_path / "s", slices=[0, 1, 1, 2, 3])
    refused(tmp_path / "s", r"1 of the images lie at the same place as another, such as at 33\.25 mm")
    refused(tmp_path / "s", "same place", resample=True)


def test_uneven_slices_are_refused_with_place_and_size(tmp_path):
    write_series(tmp_path / "s", slices=[0, 1, 2, 2.25, 3.25])
    refused(tmp_path / "s", r"not evenly spaced: most are 3 mm apart, 1 of 4 .*0\.75 mm at 36\.25 mm.*--resample")


def test_rounded_positions_are_even(tmp_path):
    write_series(tmp_path / "s", slices=[0, 1.01, 1.99, 3.01, 4])
    with DicomSource(tmp_path / "s") as source:
        assert source.geometry.spacing_mm[0] == pytest.approx(3)


def test_tilt_is_refused(tmp_path):
    write_series(tmp_path / "s", Grid(tilt=0.6))
    refused(tmp_path / "s", r"tilted: they move 2\.4 mm sideways over 12\.0 mm.*--resample")


@pytest.mark.parametrize(
    ("changed", "match"),
    [({"PixelSpacing": [0.5, 0.5]}, "another pixel spacing"), ({"FrameOfReferenceUID": "1.9"}, "frame of reference"),
     ({"ImageOrientationPatient": list(FLIPPED)}, "another direction"),
     ({"ImagePositionPatient": None}, "says where it lies, or does not"), ({"Rows": 3, "Columns": 14}, "14 x 3 pixels"),
     ({"PixelRepresentation": 0}, "holds grey of")],
)  # fmt: skip
def test_mixed_images_make_no_volume(tmp_path, changed, match):
    write_series(tmp_path / "s")
    path = tmp_path / "s" / "image3"
    dataset = dcmread(path)
    for keyword, value in changed.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    refused(tmp_path / "s", match)


@pytest.mark.parametrize("slices", [[0, 1, 2, 3, 4], [0, 1, 2, 2.25, 3.25]], ids=["tilted", "tilted and uneven"])
def test_resampling_keeps_every_point_where_it_was(tmp_path, slices):
    grid = Grid(shape=(5, 24, 16), orientation=oblique(), tilt=0.9)
    write_series(tmp_path / "s", grid, slices=slices)
    for path in (tmp_path / "s").iterdir():
        dataset = dcmread(path)
        columns, rows = np.split(np.array(dataset.ImageOrientationPatient, float), 2)
        i, j = np.meshgrid(np.arange(24), np.arange(16), indexing="ij")
        points = (
            np.array(dataset.ImagePositionPatient, float) + i[..., None] * rows * 0.75 + j[..., None] * columns * 0.5
        )
        dataset.PixelData = np.rint(points @ [3.0, -2.0, 5.0] * 10).astype(np.int16).tobytes()
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.1, 0
        dataset.save_as(path)
    with DicomSource(tmp_path / "s", resample=True) as source:
        values, geometry = whole(source)[0], source.geometry
        np.testing.assert_array_equal(source.read(np.s_[2:3, 5:9, 3:7])[0], values[2:3, 5:9, 3:7])
    assert geometry.spacing_mm[0] == pytest.approx(3.0 if slices[-1] == 4 else 0.75)
    directions = geometry.affine[:3, :3] / np.linalg.norm(geometry.affine[:3, :3], axis=0)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-6)
    k, i, j = np.meshgrid(*map(np.arange, values.shape), indexing="ij")
    points = np.stack([j, i, k, np.ones_like(i)], axis=-1) @ (LPS_RAS @ geometry.affine).T
    truth = points[..., :3] @ [3.0, -2.0, 5.0]
    inner = np.abs(values - truth) < 0.15
    assert inner[:, 6:-6].mean() > 0.95  # the rows at the ends lie beyond some of the slices
    assert values.shape[1] >= 24 + 4


def test_headers_that_declare_more_than_the_file_holds_are_refused_at_once(tmp_path):
    dataset = image_dataset(np.zeros((4, 4), np.uint16))
    dataset.Rows = dataset.Columns = 60000
    dataset.NumberOfFrames = 2000000
    save(tmp_path / "huge", dataset)
    refused(tmp_path / "huge", "cannot hold the 2000000 x 60000 x 60000 pixels")


def test_compressed_pixels_of_another_size_are_refused_before_they_are_decoded(tmp_path):
    dataset = dcmread(SAMPLES / "MR_small_jp2klossless.dcm")
    place = dataset.PixelData.index(b"\xff\x4f\xff\x51") + 8
    data = bytearray(dataset.PixelData)
    data[place : place + 8] = struct.pack(">2I", 1 << 30, 1 << 30)
    dataset.PixelData = bytes(data)
    dataset.save_as(tmp_path / "bomb")
    refused(tmp_path / "bomb", "its pixels are .* and its header says")


def test_a_deflated_bomb_is_refused(tmp_path, monkeypatch):

    monkeypatch.setattr("foveal.data.io.dicom.files.MAXIMUM_INFLATED", 1 << 20)
    dataset = image_dataset(np.zeros((2048, 2048), np.uint8))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    save(tmp_path / "bomb", dataset)
    assert (tmp_path / "bomb").stat().st_size < 1 << 16
    refused(tmp_path / "bomb", "larger than 1 MB once inflated")


@pytest.mark.parametrize(
    ("name", "match"),
    [("rtstruct.dcm", "holds no image .RT Structure Set"), ("test-SR.dcm", "holds no image"),
     ("rtdose.dcm", "RT Dose"), ("dicomdirtests/DICOMDIR", "give the folder"), ("MR_truncated.dcm", "cut short"),
     ("README.txt", "is not a DICOM file"), ("zipMR.gz", "is not a DICOM file")],
)  # fmt: skip
def test_what_is_no_image_is_refused_by_name(name, match):
    with pytest.raises(UserError, match=match):
        DicomSource(SAMPLES / name)


def test_empty_and_missing_files_and_folders_are_refused(tmp_path):
    (tmp_path / "empty").touch()
    refused(tmp_path / "empty", "is empty")
    refused(tmp_path / "nowhere", "no such file")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "holds no DICOM image")


def test_an_unreadable_compression_is_named(tmp_path):
    dataset = dcmread(SAMPLES / "MR_small_RLE.dcm")
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    dataset.save_as(tmp_path / "film")
    refused(tmp_path / "film", "MPEG-4")


def test_damage_and_refusals_never_tell_who_the_patient_is(tmp_path, caplog, recwarn):
    write_series(tmp_path / "s", slices=[0, 1, 1, 2, 3], PatientBirthDate="not a date", RescaleSlope=0)
    caplog.clear(), recwarn.clear()
    with caplog.at_level(logging.DEBUG), pytest.raises(UserError) as caught:
        DicomSource(tmp_path / "s")
    told = str(caught.value) + caplog.text + "".join(str(each.message) for each in recwarn)
    assert PATIENT.split("^")[0] not in told
    assert "not a date" not in told


def test_a_slice_that_is_cut_short_is_not_taken_for_another_kind_of_file(tmp_path):
    write_series(tmp_path / "s")
    content = (tmp_path / "s" / "image2").read_bytes()
    for length in (200, 500, len(content) - 200, len(content) - 2):
        (tmp_path / "s" / "image2").write_bytes(content[:length])
        refused(tmp_path / "s", "image2: the file is damaged")
    (tmp_path / "s" / "image2").unlink()
    (tmp_path / "s" / "image2.dcm").write_bytes(bytes(1000))
    refused(tmp_path / "s", r"image2\.dcm: is not a DICOM file")


def test_an_element_that_claims_gigabytes_takes_none(tmp_path):
    content = bytearray((SAMPLES / "MR_small.dcm").read_bytes())
    place = content.index(b"\x08\x00\x70\x00LO")
    content[place + 4 : place + 12] = b"UN\x00\x00" + struct.pack("<L", 0xF0000000)
    (tmp_path / "claim").write_bytes(content)
    tracemalloc.start()
    refused(tmp_path / "claim", "the file is damaged")
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


CUT = ["JPGExtended", "SC_rgb_jpeg_gdcm", "SC_rgb_jpeg_dcmtk", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless",
       "MR_small_RLE"]  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_compressed_pixels_that_end_early_are_refused(tmp_path, name):
    dataset = dcmread(SAMPLES / f"{name}.dcm")
    encoded = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([encoded[: len(encoded) * 9 // 10]])
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.save_as(tmp_path / "cut")
    refused(tmp_path / "cut", "pixels of image 1")
