"""The command `convert`, on DICOM series with segmentations and with NIfTI labels."""

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from foveal.apps.volseg.conversion import on_grid
from foveal.core.cli import main
from foveal.core.errors import UserError
from foveal.core.inference.batch import find_inputs
from foveal.data.geometry import VolumeGeometry
from foveal.data.io.dicom import DicomSource
from foveal.data.io.formats import is_dicom_input
from foveal.tests.fixtures.dicom import Grid, oblique, write_series
from foveal.tests.fixtures.own_data import split_of, train_a_step
from foveal.tests.fixtures.studies import SHAPE, write_study


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.slow
def test_series_with_segmentations_become_a_dataset_that_init_takes(capsys):
    turns = ((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), oblique(), (0.0, 1.0, 0.0, 1.0, 0.0, 0.0))
    truths = [write_study(Path("studies", f"s{number}"), number, turns[number % 3]) for number in range(4)]
    write_series(Path("studies/scout"), Grid(shape=SHAPE), series="1.2.9.9", PatientID="P1")
    assert main(["init", "volseg", "studies"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: studies: holds DICOM files, but a training reads NIfTI.")
    make, again = (line.split()[1:] for line in told.splitlines()[1:])
    assert main(make) == 0
    out, news = capsys.readouterr()
    assert "studies_nifti: 4 volumes with labels, classes liver, tumour; 1 series without labels are left out" in out
    assert "patient001_01 with labels of seg.dcm" in news
    table = list(csv.DictReader(Path("studies_nifti/series.csv").read_text().splitlines()))
    assert table[3] == {"name": "patient003_01", "series": "s3/images"}
    for row, truth in zip(table, truths, strict=True):
        labels = nibabel.load(Path("studies_nifti/labelsTr", f"{row['name']}.nii.gz"))
        image = nibabel.load(Path("studies_nifti/imagesTr", f"{row['name']}.nii.gz"))
        with DicomSource(Path("studies", row["series"])) as source:
            values = source.read(tuple(slice(0, size) for size in SHAPE))[0]
            np.testing.assert_allclose(image.affine, source.geometry.affine, atol=1e-4)
        np.testing.assert_array_equal(np.asarray(image.dataobj).T, values)
        np.testing.assert_array_equal(np.asarray(labels.dataobj).T, truth)
        np.testing.assert_array_equal(labels.affine, image.affine)
    assert b"Doe" not in b"".join(each.read_bytes() for each in Path("studies_nifti").rglob("*.json"))
    assert main(again) == 0
    assert {row["patient"] for row in split_of("studies_nifti_split.csv")} == {f"patient00{n}" for n in (1, 2, 3)}
    content = yaml.safe_load(Path("studies_nifti.yaml").read_text())
    assert content["model"]["init_args"]["net"]["init_args"]["num_classes"] == 3
    assert content["data"]["init_args"]["modality"] == "CT"
    train_a_step("volseg", "studies_nifti.yaml")


def test_nifti_labels_belong_to_the_folder_of_their_name(capsys):
    write_series(Path("studies/first"), Grid(shape=SHAPE))
    with DicomSource(Path("studies/first")) as source:
        affine = source.geometry.affine
    labels = np.zeros(SHAPE[::-1], np.uint8)
    labels[2:5, 3:9, 4:6] = 7
    flipped = affine @ np.array([[1, 0, 0, 0], [0, -1, 0, SHAPE[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    Path("truth").mkdir()
    nibabel.save(nibabel.Nifti1Image(np.flip(labels, 1), flipped), "truth/first.nii.gz")  # as dcm2niix turns rows
    given = ["volseg", "convert", "--input", "studies", "--labels", "truth", "--output", "made"]
    assert main(given) == 0
    found = nibabel.load("made/labelsTr/patient001_01.nii.gz")
    np.testing.assert_array_equal(np.asarray(found.dataobj), labels // 7)
    assert json.loads(Path("made/dataset.json").read_text())["labels"] == {"0": "background", "1": "class 7"}
    assert main(given) == 2
    assert "made/dataset.json: exists already" in capsys.readouterr().err
    Path("mine/labelsTr").mkdir(parents=True)
    assert main([*given[:-1], "mine"]) == 2
    assert "mine/labelsTr: exists already" in capsys.readouterr().err
    assert main([*given[:-1], "other", "--quiet"]) == 0
    assert not any(capsys.readouterr())


def test_one_series_that_fails_does_not_stop_the_others(capsys):
    for name in ("a", "b"):
        write_series(Path("studies", name), Grid(shape=SHAPE), series=f"1.2.{ord(name)}")
    with DicomSource(Path("studies/a")) as source:
        affine = source.geometry.affine
    labels = np.ones(SHAPE[::-1], np.uint8)
    Path("truth").mkdir()
    nibabel.save(nibabel.Nifti1Image(labels, affine), "truth/a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, affine @ np.diag([1.3, 1, 1, 1])), "truth/b.nii.gz")
    assert main(["volseg", "convert", "--input", "studies", "--labels", "truth", "--output", "made"]) == 1
    told = capsys.readouterr().err
    assert "1 of 2 inputs failed, the others are done:\ntruth/b.nii.gz: its voxels are not those" in told
    assert len(json.loads(Path("made/dataset.json").read_text())["training"]) == 1


def test_a_series_that_fails_leaves_no_class_behind(capsys):
    write_study(Path("studies/s0"), 0)
    Path("studies/s0/again.dcm").write_bytes(Path("studies/s0/seg.dcm").read_bytes())
    write_series(Path("studies/s1"), Grid(shape=SHAPE), PatientID="P9")
    with DicomSource(Path("studies/s1")) as source:
        labels = nibabel.Nifti1Image(np.full(SHAPE[::-1], 7, np.uint8), source.geometry.affine)
    nibabel.save(labels, "studies/s1.nii.gz")
    assert main(["volseg", "convert", "--input", "studies", "--output", "made"]) == 1
    assert "the segment liver lies over another one" in capsys.readouterr().err
    assert json.loads(Path("made/dataset.json").read_text())["labels"] == {"0": "background", "1": "class 7"}


def test_a_damaged_file_costs_the_series_of_its_folder_alone(capsys):
    for number in range(2):
        write_study(Path("studies", f"s{number}"), number)
    slice_ = next(Path("studies/s1/images").iterdir())
    slice_.write_bytes(slice_.read_bytes()[:-100])
    Path("studies/stray.dcm").write_text("junk")
    assert main(["volseg", "convert", "--input", "studies", "--output", "made"]) == 1
    out, told = capsys.readouterr()
    assert "made: 1 volume with labels" in out
    assert "2 of 3 inputs failed, the others are done:\nstudies/stray.dcm: is not a DICOM file." in told
    assert f"{slice_}: the file is damaged or was cut short" in told


def test_series_of_uneven_slices_are_refused_without_an_option_that_is_not_there(capsys):
    write_series(Path("studies/a"), Grid(shape=SHAPE), slices=np.arange(SHAPE[0]) ** 1.2)
    nibabel.save(nibabel.Nifti1Image(np.ones(SHAPE[::-1], np.uint8), np.eye(4)), "studies/a.nii.gz")
    assert main(["volseg", "convert", "--input", "studies", "--output", "made"]) == 2
    told = capsys.readouterr().err
    assert "not evenly spaced" in told
    assert "onto an even, upright grid elsewhere" in told
    assert "--resample" not in told


def test_segmentations_beside_series_are_neither_checked_nor_computed(capsys):
    write_study(Path("study"), 0)
    (Path("study/seg").mkdir(), Path("study/seg.dcm").rename("study/seg/1.dcm"))
    assert main(["check", "--input", "study"]) == 0
    assert "1 DICOM segmentation, labels of these, passed over" in capsys.readouterr().out
    assert find_inputs(Path("study"), (".dcm",), is_dicom_input) == [Path("study/images")]
    with pytest.raises(UserError, match=r"1\.dcm: is a segmentation of several segments, no volume"):
        DicomSource(Path("study/seg/1.dcm"))


def test_series_without_suffix_are_known_for_dicom(capsys):
    write_series(Path("studies/first"), Grid(shape=SHAPE))
    for number, file in enumerate(sorted(Path("studies/first").iterdir())):
        file.rename(file.with_name(f"IM{number}"))
    assert main(["init", "volseg", "studies"]) == 2
    assert "studies: holds DICOM files, but a training reads NIfTI." in capsys.readouterr().err


def test_labels_whose_name_fits_several_series_are_taken_for_none(capsys):
    for name in ("a", "b"):
        write_series(Path("studies", name, "images"), Grid(shape=SHAPE), series=f"1.2.{ord(name)}")
    with DicomSource(Path("studies/a/images")) as source:
        labels = nibabel.Nifti1Image(np.ones(SHAPE[::-1], np.uint8), source.geometry.affine)
    nibabel.save(labels, "studies/images.nii.gz")
    assert main(["volseg", "convert", "--input", "studies", "--output", "made"]) == 2
    assert "studies: none of its 2 series has labels in studies" in capsys.readouterr().err


def test_what_is_missing_is_told(capsys):
    write_series(Path("studies/a"), Grid(shape=SHAPE))
    assert main(["volseg", "convert", "--input", "studies", "--output", "made"]) == 2
    assert "studies: none of its 1 series has labels in studies" in capsys.readouterr().err
    assert main(["volseg", "convert", "--input", "nowhere", "--output", "made"]) == 2
    assert "error: nowhere: there is no such folder" in capsys.readouterr().err
    assert main(["volseg", "convert", "--input", "studies", "--labels", "nowhere", "--output", "made"]) == 2
    assert "--labels nowhere: there is no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(4))
def test_labels_are_turned_and_moved_without_interpolation(seed):
    generator = np.random.default_rng(seed)
    wanted = VolumeGeometry((5, 6, 7), np.diag([0.5, 0.75, 3.0, 1.0]))
    labels = np.zeros(wanted.shape, np.uint8)
    labels[1:4, 2:5, 1:6] = generator.integers(1, 9, (3, 3, 5))
    turn = np.eye(4)[[*generator.permutation(3), 3]] * [*generator.choice([-1.0, 1.0], 3), 1.0]
    turn[:3, 3] = [(size - 1) * (row.sum() < 0) for size, row in zip((7, 6, 5), turn[:3, :3], strict=True)]
    order = np.abs(turn[:3, :3]).argmax(axis=0)
    stored = labels.transpose(2, 1, 0)
    stored = np.flip(stored, [axis for axis in range(3) if turn[axis, :3].sum() < 0]).transpose(order)
    found = on_grid(stored.transpose(2, 1, 0), wanted.affine @ turn, wanted, Path("x"))
    np.testing.assert_array_equal(found, labels)
    with pytest.raises(UserError, match="its voxels are not those of its series"):
        on_grid(labels, wanted.affine @ np.diag([1, 1, 1.1, 1]), wanted, Path("x"))


@pytest.mark.parametrize("slices", [-9, -3, 3, 9])
def test_labels_beyond_the_volume_are_refused(slices):
    wanted = VolumeGeometry((5, 6, 7), np.eye(4))
    moved = np.eye(4)
    moved[2, 3] = slices
    with pytest.raises(UserError, match="x: labels voxels beyond its series"):
        on_grid(np.ones(wanted.shape, np.uint8), moved, wanted, Path("x"))
    assert not on_grid(np.zeros(wanted.shape, np.uint8), moved, wanted, Path("x")).any()


@pytest.mark.parametrize(
    ("values", "told"),
    [(np.arange(np.prod(SHAPE)), "more than 255 classes"), (np.full(np.prod(SHAPE), 0.5), "values such as 0.5")],
)
def test_what_is_no_label_map_is_refused(capsys, values, told):
    write_series(Path("studies/a"), Grid(shape=SHAPE))
    with DicomSource(Path("studies/a")) as source:
        image = nibabel.Nifti1Image(values.reshape(SHAPE[::-1]).astype(np.float32), source.geometry.affine)
    nibabel.save(image, "studies/a.nii.gz")
    assert main(["volseg", "convert", "--input", "studies", "--output", "made"]) == 2
    assert told in capsys.readouterr().err
