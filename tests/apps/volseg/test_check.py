"""`foveal volseg check` on datasets and folders of volumes."""

import json
import shutil

import numpy as np
import pytest

from foveal.core.cli import main
from foveal.tests.fixtures import dicom, nifti

AFFINE = nifti.AFFINES["anisotropic"]


def write(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    return nifti.write(path, values, affine=affine)


def case(folder, number, channels=1, classes=3, shape=(12, 10, 8)):
    """Write a volume of `channels` files and its labels as nnU-Net has them."""
    generator = np.random.default_rng(number)
    for channel in range(channels):
        values = generator.integers(0, 1000, shape).astype(np.int16)
        write(folder / "imagesTr" / f"case{number}_{channel:04d}.nii.gz", values)
    labels = generator.integers(0, classes, shape).astype(np.uint8)
    write(folder / "labelsTr" / f"case{number}.nii.gz", labels)
    return labels


def describe(folder, channels=1, names=("liver", "spleen"), count=3):
    content = {
        "channel_names": {str(number): f"t{number}" for number in range(channels)},
        "labels": {"background": 0} | {name: value for value, name in enumerate(names, 1)},
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content))


@pytest.fixture
def dataset(tmp_path):
    for number in range(3):
        case(tmp_path / "data", number, channels=2)
    describe(tmp_path / "data", channels=2)
    return tmp_path / "data"


def check(path, *options):
    report = path.parent / "report.json"
    code = main(["volseg", "check", "--input", str(path), "--json", str(report), *options])
    return code, json.loads(report.read_text())


def errors(report):
    return {each["name"]: each["errors"] for each in report["items"] if each["errors"]}


def test_a_dataset_of_nnunet_is_planned(dataset, capsys):
    code, report = check(dataset)
    assert code == 0, report
    assert (report["files"], report["usable"]) == (6, 6)
    assert list(report["classes"]) == ["0", "1", "2"]
    plan = report["a training would be planned by"]
    assert plan["cases"] == 3
    assert plan["axes"] == "SPL"
    assert plan["spacing in mm"] == [5.0, 0.5, pytest.approx(0.4688)]
    assert plan["median size"] == [8, 10, 12]
    assert len(plan["objects, mean"]) == 2
    assert "a training would be planned by" in capsys.readouterr().out


def test_a_dataset_of_the_decathlon_is_read(tmp_path):
    folder = tmp_path / "Task01"
    names = []
    for number in range(2):
        values = np.random.default_rng(number).random((8, 9, 10, 2)).astype(np.float32)
        write(folder / "imagesTr" / f"b{number}.nii.gz", values)
        write(folder / "labelsTr" / f"b{number}.nii.gz", (values[..., 0] > 0.5).astype(np.uint8))
        names.append({"image": f"./imagesTr/b{number}.nii.gz", "label": f"./labelsTr/b{number}.nii.gz"})
    content = {"modality": {"0": "T1", "1": "T2"}, "labels": {"0": "background", "1": "tumour"}, "training": names}
    (folder / "dataset.json").write_text(json.dumps(content | {"numTraining": 2}))
    code, report = check(folder)
    assert code == 0, report
    assert report["a training would be planned by"]["cases"] == 2


def test_what_does_not_fit_is_named(dataset):
    shape = (12, 10, 8)
    labels = dataset / "labelsTr"
    write(labels / "case0.nii.gz", np.full(shape, 3, np.uint8))
    moved = AFFINE.copy()
    moved[:3, 3] += 1
    write(labels / "case1.nii.gz", np.ones(shape, np.uint8), moved)
    write(dataset / "imagesTr" / "case2_0001.nii.gz", np.full(shape, 9, np.int16))
    code, report = check(dataset)
    assert code == 1
    found = errors(report)
    assert "holds the label 3; the network's classes are 0..2" in found["case0_0000.nii.gz"][0]
    assert "labels of another geometry: corners 1.73 mm apart" in found["case1_0000.nii.gz"][0]
    assert "case2_0001.nii.gz: all voxels have the value 9" in found["case2_0000.nii.gz"][0]


def test_labels_may_lie_apart_by_what_headers_are_rounded(dataset):
    moved = AFFINE.copy()
    moved[:3, 3] += 0.01
    write(dataset / "labelsTr" / "case1.nii.gz", case(dataset, 1, channels=2), moved)
    code, report = check(dataset)
    assert code == 0, errors(report)


def test_a_class_that_is_nowhere_is_a_problem_of_the_whole(tmp_path):
    for number in range(2):
        case(tmp_path / "data", number, classes=2)
    describe(tmp_path / "data", count=2)
    code, report = check(tmp_path / "data")
    assert code == 1
    assert report["problems"] == ["no label map holds the class 2 (spleen)"]


def test_a_dataset_json_that_is_wrong_is_told_and_the_files_are_read(dataset):
    describe(dataset, channels=2, count=7)
    code, report = check(dataset)
    assert code == 1
    assert "tells of 7 training cases, but 3 are there" in report["problems"][0]
    assert report["usable"] == 6


def test_folders_need_no_description_and_gaps_of_labels_are_told(tmp_path):
    for number in range(3):
        case(tmp_path / "data", number)
    images, labels = (tmp_path / "data" / name for name in ("imagesTr", "labelsTr"))
    assert check(images, "--labels", str(labels)) == check(tmp_path / "data")
    assert check(images, "--labels", str(labels))[0] == 0
    for path in labels.iterdir():
        values = np.asarray(nifti_values(path)) * 2
        write(path, values.astype(np.uint8))
    code, report = check(images, "--labels", str(labels))
    assert code == 1
    assert "label values have a gap: 1 is nowhere, 4 is" in report["problems"][0]


def nifti_values(path):
    import nibabel

    return nibabel.load(path).dataobj


def test_volumes_without_labels_are_looked_at(tmp_path):
    folder = tmp_path / "volumes"
    write(folder / "good.nii.gz", nifti.samples((6, 7, 8)))
    write(folder / "flat.nii.gz", nifti.samples((6, 7)))
    write(folder / "constant.nii.gz", np.full((6, 7, 8), 3, np.int16))
    values = nifti.samples((6, 7, 8), "float32")
    values[0, 0, 0] = np.nan
    write(folder / "nan.nii.gz", values)
    made = nifti.header(values, affine=None)
    made["pixdim"][1:4] = 0
    nifti.write(folder / "spacing.nii.gz", nifti.samples((6, 7, 8), "float32"), made)
    dicom.write_series(folder / "ct")
    dicom.write_series(folder / "gap", slices=[0, 1, 2, 4, 5], series="1.2.99")
    code, report = check(folder)
    assert code == 1
    assert report["usable"] == 2
    told = {name: each[0] for name, each in errors(report).items()}
    assert told["flat.nii.gz"] == "is a single slice, not a volume"
    assert told["constant.nii.gz"] == "all voxels have the value 3"
    assert "no finite numbers" in told["nan.nii.gz"]
    assert "0 mm apart" in told["spacing.nii.gz"]
    assert "slices are missing" in told["gap"]


def test_a_missing_label_map_is_told(dataset):
    (dataset / "labelsTr" / "case1.nii.gz").unlink()
    shutil.copy(dataset / "labelsTr" / "case0.nii.gz", dataset / "labelsTr" / "other.nii.gz")
    code, report = check(dataset)
    assert code == 1
    assert report["labels_without_image"] == ["other.nii.gz"]
    assert errors(report)["case1_0001.nii.gz"] == ["has no labels of its name"]
