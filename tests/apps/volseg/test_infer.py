"""`foveal volseg infer` with programs that label voxel by voxel."""

import csv
import json

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
import torch
from scipy import ndimage
from torch import nn

from foveal.apps.volseg.infer import infer
from foveal.core.errors import FailedInputs, UserError
from foveal.data.io.image import read_image
from foveal.tests.fixtures import dicom, nifti
from foveal.tests.fixtures.pixelwise import save_program, save_shades

WINDOW = {"window": [0, 1000]}
CARD = {"app": "volseg", "dimensions": 3, "tile": 16, "overlap": 8}


def run(weights, path, output, **options):
    paths = path if isinstance(path, list) else [path]
    infer(output, paths, [str(weights)], quiet=True, device="cpu", **options)


def shades(folder, **card):
    facts = CARD | {"channels": ("mr",), "intensity": WINDOW} | card
    return save_shades(folder / "shades.pt", **facts)


def values(shape, seed=0, width=2):
    """Smooth values of 0 to 1000."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width)
    return (1000 * (noise - noise.min()) / np.ptp(noise)).astype(np.float32)


def volume(path, shape=(20, 24, 18), affine="oblique", seed=0, width=2):
    """Write a NIfTI file, (i, j, k); return its values."""
    samples = values(shape, seed, width)
    path.parent.mkdir(exist_ok=True)
    nifti.write(path, samples, affine=nifti.AFFINES[affine])
    return samples


def labelled(array):
    """What the program makes of values along (..., i): it looks two voxels back along the last axis."""
    level = array / 1000
    level = 0.5 * level + 0.5 * np.roll(level, 2, axis=-1)
    return np.argmax([0.35 - level, 0.15 - np.abs(level - 0.5), level - 0.65], axis=0)


def read(path):
    return np.asarray(nibabel.load(path).dataobj)


@pytest.mark.parametrize("affine", ["anisotropic", "flipped", "oblique and flipped"])
def test_a_volume_becomes_a_label_map_where_it_lies(tmp_path, affine):
    samples = volume(tmp_path / "head.nii.gz", affine=affine)
    run(shades(tmp_path), tmp_path / "head.nii.gz", tmp_path / "out.nii.gz")
    before, after = nibabel.load(tmp_path / "head.nii.gz"), nibabel.load(tmp_path / "out.nii.gz")
    inner = (slice(2, None), ...)  # but for the ends, where the program sees the mirrored padding
    assert np.mean(read(tmp_path / "out.nii.gz")[inner] == labelled(samples.T).T[inner]) > 0.99
    assert np.array_equal(after.affine, before.affine)
    assert after.header.get_intent()[0] == "label"
    assert after.get_data_dtype() == np.uint8


def test_the_networks_spacing_and_orientation_change_nothing_of_the_outputs_grid(tmp_path):
    samples = volume(tmp_path / "head.nii.gz", (40, 36, 30), "sagittal")
    weights = shades(tmp_path, spacing=(2.0, 2.0, 2.0), orientation="SPL")
    run(weights, tmp_path / "head.nii.gz", tmp_path / "out.nii.gz")
    result = nibabel.load(tmp_path / "out.nii.gz")
    assert np.array_equal(result.affine, nibabel.load(tmp_path / "head.nii.gz").affine)
    assert result.shape == samples.shape
    centres = [ndimage.center_of_mass(each) for each in (read(tmp_path / "out.nii.gz") == 2, samples > 650)]
    assert np.abs(np.subtract(*centres)).max() < 2


def series(folder, shape=(9, 20, 24), orientation=None):
    """Write a series whose values are smooth."""
    grid = dicom.Grid(shape=shape, orientation=orientation or dicom.oblique(), spacing=(3.0, 0.75, 0.5))
    grid.volume = lambda: values(grid.shape).astype(np.int16)
    dicom.write_series(folder, grid, Modality="MR")
    return folder


def centre_of_nifti(path, value):
    """In the coordinates of DICOM (LPS millimetres), by SimpleITK."""
    image = SimpleITK.ReadImage(str(path))
    indices = np.argwhere(SimpleITK.GetArrayViewFromImage(image) == value)[:, ::-1].mean(axis=0)
    return np.array(image.TransformContinuousIndexToPhysicalPoint(indices.tolist()))


def centre_of_segmentation(path, number):
    """The same of a segment of a DICOM SEG, by highdicom."""
    segmentation = highdicom.seg.segread(path)
    found = segmentation.get_volume(segment_numbers=[number])
    indices = np.argwhere(found.array[..., 0] > 0).mean(axis=0)
    return found.map_indices_to_reference(indices[None])[0]


def test_the_name_of_an_output_says_what_is_written_and_nothing_more_is_unless_asked_for(tmp_path):
    volume(tmp_path / "head.nii.gz", (10, 9, 8))
    weights = shades(tmp_path)
    run(weights, tmp_path / "head.nii.gz", tmp_path / "one.nii", report=False)
    run(weights, tmp_path / "head.nii.gz", tmp_path / "two.nii", report=False, suffix=[".nii.gz"])
    written = {each.name for each in tmp_path.iterdir() if each.name.startswith(("one", "two"))}
    assert written == {"one.nii", "two.nii", "two.nii.gz"}


def test_a_series_becomes_a_segmentation_and_a_nifti_of_one_place(tmp_path):
    window = {"window": [dicom.INTERCEPT, dicom.INTERCEPT + 1000 * dicom.SLOPE]}
    weights = shades(tmp_path, intensity=window, spacing=(3.0, 1.0, 1.0), orientation="SPL")
    run(weights, series(tmp_path / "mr"), tmp_path / "out", suffix=[".nii.gz", ".dcm"])
    report = json.loads((tmp_path / "out" / "mr_report.json").read_text())
    dataset = pydicom.dcmread(tmp_path / "out" / "mr.dcm")
    assert [each.SegmentLabel for each in dataset.SegmentSequence] == ["middle", "bright"]
    for number in (1, 2):
        place = centre_of_nifti(tmp_path / "out" / "mr.nii.gz", number)
        assert np.abs(place - centre_of_segmentation(tmp_path / "out" / "mr.dcm", number)).max() < 1e-3
        told = report["classes"][number - 1]["centroid_mm"]
        assert np.allclose(place, [-told["R"], -told["A"], told["S"]], atol=2e-3)
    frames = highdicom.seg.segread(tmp_path / "out" / "mr.dcm").get_volume(
        combine_segments=True, rescale_fractional=False
    )
    assert int(frames.array.astype(bool).sum()) == int((read(tmp_path / "out" / "mr.nii.gz") > 0).sum())


def on_grid(segmentation, grid):
    """Segment numbers on the grid of a NIfTI file, each frame of a DICOM SEG put where it says that it lies."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    across, down = np.split(np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float), 2)
    row_mm, column_mm = shared.PixelMeasuresSequence[0].PixelSpacing
    found = np.zeros(grid.shape, int)
    for frame, groups in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        rows, columns = np.nonzero(frame)
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        places = corner + np.outer(columns, across * column_mm) + np.outer(rows, down * row_mm)
        indices = nibabel.affines.apply_affine(np.linalg.inv(grid.affine), places * (-1, -1, 1))
        assert np.abs(indices - indices.round()).max() < 1e-3
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        np.add.at(found, tuple(indices.round().astype(int).T), number)
    return found


@pytest.mark.parametrize(
    "orientation",
    [
        dicom.oblique(),
        (1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
        (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
        (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    ],
    ids=["oblique", "from head to feet", "turned", "sagittal"],
)
def test_each_voxel_of_a_segmentation_is_that_of_the_nifti(tmp_path, orientation):
    window = {"window": [dicom.INTERCEPT, dicom.INTERCEPT + 1000 * dicom.SLOPE]}
    folder = series(tmp_path / "mr", orientation=orientation)
    run(shades(tmp_path, intensity=window), folder, tmp_path / "out", suffix=[".nii.gz", ".dcm"])
    segmentation, grid = pydicom.dcmread(tmp_path / "out" / "mr.dcm"), nibabel.load(tmp_path / "out" / "mr.nii.gz")
    labels = np.asarray(grid.dataobj)
    assert all(np.mean(labels == value) > 0.01 for value in (0, 1, 2))
    assert np.array_equal(on_grid(segmentation, grid), labels)
    assert segmentation.FrameOfReferenceUID == dicom.FRAME
    sources = {each.SOPInstanceUID: each for each in map(pydicom.dcmread, folder.iterdir())}
    for groups in segmentation.PerFrameFunctionalGroupsSequence:
        source = sources[groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        places = source.ImagePositionPatient, groups.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(*(np.array(each, float) for each in places), atol=1e-4)


def test_a_folder_has_reports_of_all_and_a_table(tmp_path):
    for name, seed in (("one", 1), ("two", 2)):
        volume(tmp_path / "in" / f"{name}.nii.gz", affine="anisotropic", seed=seed)
    run(shades(tmp_path), tmp_path / "in", tmp_path / "out")
    lines = list(csv.DictReader((tmp_path / "out" / "foveal-report.csv").open()))
    assert [(each["case"], each["name"]) for each in lines] == [
        ("one", "middle"), ("one", "bright"), ("two", "middle"), ("two", "bright")
    ]  # fmt: skip
    labels, affine = read(tmp_path / "out" / "two.nii.gz"), nifti.AFFINES["anisotropic"]
    report = json.loads((tmp_path / "out" / "two_report.json").read_text())
    for value, found, line in zip((1, 2), report["classes"], lines[2:], strict=True):
        places = np.argwhere(labels == value)
        assert found["voxels"] == int(line["voxels"]) == len(places)
        assert found["volume_ml"] == pytest.approx(len(places) * 0.46875 * 0.5 * 5 / 1000, abs=1e-6)
        centre = nibabel.affines.apply_affine(affine, places.mean(axis=0))
        assert [*found["centroid_mm"].values()] == pytest.approx(centre, abs=1e-3)
        assert list(found["centroid_mm"]) == ["R", "A", "S"]
        slices = np.unique(places[:, 2])
        assert found["slices"] == {"count": len(slices), "first": slices[0], "last": slices[-1]}
    assert report["spacing_mm"] == [0.46875, 0.5, 5.0]
    assert set(report["versions"]) == {"foveal", "torch", "python"}
    assert len(report["weights"][0]["sha256"]) == 64


def test_a_run_without_report_touches_those_of_others_as_little_as_their_table(tmp_path):
    weights, out = shades(tmp_path), tmp_path / "out"
    for name in ("one", "two"):
        volume(tmp_path / f"{name}.nii.gz")
    out.mkdir()
    (out / "two_report.json").write_text("{}")
    run(weights, tmp_path / "one.nii.gz", out)
    table = (out / "foveal-report.csv").read_text()
    run(weights, tmp_path / "two.nii.gz", out, report=False)
    assert (out / "foveal-report.csv").read_text() == table
    assert (out / "two_report.json").read_text() == "{}"
    run(weights, tmp_path / "one.nii.gz", out, report=False, uncertainty=True)
    assert not [*out.glob("one_report.*"), *out.glob("*.csv")]
    (out / "foveal-report.csv").write_text("somebody's own")
    with pytest.raises(UserError, match=r"foveal-report\.csv: exists already; give --overwrite"):
        run(weights, tmp_path / "one.nii.gz", out)


def test_the_sheet_shows_three_planes_with_the_outlines_of_each_class(tmp_path):
    volume(tmp_path / "head.nii.gz", affine="anisotropic")
    run(shades(tmp_path), tmp_path / "head.nii.gz", tmp_path / "out.nii.gz")
    picture = read_image(tmp_path / "out_report.png")
    colours = {tuple(each) for each in picture.reshape(3, -1).T}
    assert {(40, 200, 40), (220, 40, 40)} <= colours
    height = round(480 * 24 * 0.5 / 90)  # of the axial plane, as the body is 90 mm long
    assert picture[:, :height, :50].any()


def test_a_report_can_be_left_out(tmp_path):
    volume(tmp_path / "head.nii")
    run(shades(tmp_path), tmp_path / "head.nii", tmp_path / "out", report=False)
    assert sorted(each.name for each in (tmp_path / "out").iterdir() if not each.name.startswith(".")) == [
        "foveal-manifest.json", "head.nii"
    ]  # fmt: skip


def test_probabilities_and_uncertainty_are_written_beside(tmp_path):
    volume(tmp_path / "head.nii.gz")
    weights = shades(tmp_path)
    run(weights, tmp_path / "head.nii.gz", tmp_path / "plain.nii.gz")
    run(weights, tmp_path / "head.nii.gz", tmp_path / "out.nii.gz", probabilities=True, uncertainty=True)
    chances = read(tmp_path / "out_probabilities.nii.gz")
    assert chances.shape == (20, 24, 18, 3)
    assert np.allclose(chances.sum(axis=-1), 1, atol=1e-5)
    assert np.array_equal(chances.argmax(axis=-1), read(tmp_path / "out.nii.gz"))
    assert np.array_equal(read(tmp_path / "plain.nii.gz"), read(tmp_path / "out.nii.gz"))
    variance = read(tmp_path / "out_uncertainty.nii.gz")
    assert variance.shape == (20, 24, 18)
    assert 0 < variance.max() <= 0.25


def test_mirrored_views_are_averaged(tmp_path):
    samples = volume(tmp_path / "head.nii.gz", affine="straight")
    run(shades(tmp_path), tmp_path / "head.nii.gz", tmp_path / "out.nii.gz", tta=True)
    mirrored = labelled_by_views(samples.T).T
    inner = (slice(2, -2), ...)
    assert np.mean(read(tmp_path / "out.nii.gz")[inner] == mirrored[inner]) > 0.99


def labelled_by_views(array):
    """The mean of the probabilities over the two directions of the last axis, as the others do not matter."""
    chances = []
    for step in (2, -2):
        level = 0.5 * array / 1000 + 0.5 * np.roll(array / 1000, step, axis=-1)
        scores = 12 * np.stack([0.35 - level, 0.15 - np.abs(level - 0.5), level - 0.65])
        chances.append(np.exp(scores) / np.exp(scores).sum(axis=0))
    return np.mean(chances, axis=0).argmax(axis=0)


@pytest.mark.parametrize(
    ("options", "only_largest", "smallest"),
    [
        ({"largest_component": ["bright"]}, {2}, {}),
        ({"smallest_ml": ["0.002", "bright=0.02"]}, {}, {1: 2, 2: 20}),
        ({"largest_component": ["all"], "smallest_ml": ["2=100"]}, {1, 2}, {2: 1e5}),
    ],
)
def test_components_are_removed_by_class(tmp_path, options, only_largest, smallest):
    volume(tmp_path / "head.nii.gz", (30, 34, 28), affine="straight", width=1)
    weights = shades(tmp_path)
    run(weights, tmp_path / "head.nii.gz", tmp_path / "all.nii.gz")
    run(weights, tmp_path / "head.nii.gz", tmp_path / "some.nii.gz", **options)
    labels, kept = read(tmp_path / "all.nii.gz"), read(tmp_path / "some.nii.gz")
    assert (kept == 2).sum() < (labels == 2).sum()
    for value in (1, 2):
        parts, _ = ndimage.label(labels == value, np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        wanted = sizes >= smallest.get(value, 0)
        if value in only_largest:
            wanted &= sizes == sizes.max()
        assert np.array_equal(kept == value, np.array([False, *wanted])[parts])
    assert json.loads((tmp_path / "some_report.json").read_text())["classes"][1]["voxels"] == (kept == 2).sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"largest_component": ["spleen"]}, "--largest_component spleen: the network has no such class; it has middle"),
        ({"smallest_ml": ["bright=some"]}, "--smallest_ml bright=some: give millilitres"),
        ({"smallest_ml": ["-1"]}, "--smallest_ml -1: give millilitres"),
        ({"suffix": [".nii.gz", ".dcm"]}, "--suffix .dcm: what is made of .* can be written as .nii, .nii.gz"),
        ({"tile": 0}, "--tile 0"),
    ],
)
def test_impossible_options_are_told_before_any_work(tmp_path, options, message):
    volume(tmp_path / "head.nii.gz")
    with pytest.raises(UserError, match=message):
        run(shades(tmp_path), tmp_path / "head.nii.gz", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


class Difference(nn.Module):
    """Class 1 where the second channel is above the first."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = x[:, 1:2] - x[:, 0:1]
        return torch.cat([-step, step], dim=1)


def difference(folder):
    return save_program(
        folder / "difference.pt", Difference(), channels=("t1", "t2"), activation="argmax",
        outputs=("background", "lesion"), intensity=WINDOW, **CARD,
    )  # fmt: skip


def test_numbered_files_are_the_channels_of_a_case(tmp_path):
    folder = tmp_path / "in"
    first, second = (volume(folder / f"case_000{number}.nii.gz", seed=number) for number in (0, 1))
    volume(folder / "other_0000.nii.gz")
    weights = difference(tmp_path)
    with pytest.raises(
        FailedInputs, match=r"other_0000.nii.gz: the case has the channels 0000; .* 0000, 0001 \(t1, t2"
    ):
        run(weights, folder, tmp_path / "out")
    assert np.array_equal(read(tmp_path / "out" / "case.nii.gz"), second > first)
    run(weights, folder / "case_0001.nii.gz", tmp_path / "one.nii.gz")
    assert np.array_equal(read(tmp_path / "one.nii.gz"), second > first)


def test_a_changed_channel_is_noticed(tmp_path):
    for number in (0, 1):
        volume(tmp_path / f"case_000{number}.nii.gz", seed=number)
    weights = difference(tmp_path)
    run(weights, tmp_path / "case_0000.nii.gz", tmp_path / "out.nii.gz")
    second = volume(tmp_path / "case_0001.nii.gz", seed=5)
    run(weights, tmp_path / "case_0000.nii.gz", tmp_path / "out.nii.gz")
    assert np.array_equal(read(tmp_path / "out.nii.gz"), second > read(tmp_path / "case_0000.nii.gz"))


def test_all_channels_in_one_file_are_taken_too(tmp_path):
    both = np.stack([values((20, 24, 18), seed) for seed in (0, 1)], axis=-1)
    nifti.write(tmp_path / "both.nii.gz", both)
    run(difference(tmp_path), tmp_path / "both.nii.gz", tmp_path / "out.nii.gz")
    assert np.array_equal(read(tmp_path / "out.nii.gz"), both[..., 1] > both[..., 0])


def test_the_number_of_an_only_channel_is_no_part_of_the_name(tmp_path):
    for name in ("a_0000", "b_0000", "b_0001", "c_0007"):
        volume(tmp_path / "in" / f"{name}.nii.gz")
    run(shades(tmp_path), tmp_path / "in", tmp_path / "out", report=False)
    names = sorted(each.name for each in (tmp_path / "out").glob("*.nii.gz"))
    assert names == ["a.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz", "c_0007.nii.gz"]


def test_folds_are_averaged(tmp_path):
    volume(tmp_path / "head.nii.gz")
    one, two = (save_program(tmp_path / f"{bias}.pt", Biased(bias), activation="argmax", channels=("mr",),
                             outputs=("a", "b", "c"), intensity=WINDOW, **CARD) for bias in (0.0, 3.0))  # fmt: skip
    infer(tmp_path / "both.nii.gz", [tmp_path / "head.nii.gz"], [str(one), str(two)], probabilities=True, quiet=True)
    run(one, tmp_path / "head.nii.gz", tmp_path / "one.nii.gz", probabilities=True)
    run(two, tmp_path / "head.nii.gz", tmp_path / "two.nii.gz", probabilities=True)
    found, *members = (read(tmp_path / f"{name}_probabilities.nii.gz") for name in ("both", "one", "two"))
    assert np.allclose(found, np.mean(members, axis=0), atol=1e-6)
    assert len(json.loads((tmp_path / "both_report.json").read_text())["weights"]) == 2


class Biased(nn.Module):
    """Three classes by the value, one of them favoured."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bias = bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([1 - 3 * x, torch.zeros_like(x), 5 * x - 3 + self.bias], dim=1)
