"""The command `check` on images, volumes and X-rays with labels."""

import json
from pathlib import Path

import numpy as np
import pytest

from foveal.core.cli import main
from foveal.data.datasets.class_folders import ClassFolders
from foveal.data.io.formats import is_dicom_series
from foveal.tests.fixtures import dicom
from foveal.tests.fixtures.datasets_2d import merged, write_datasets


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(name):
    write_datasets(merged(f"configs/medseg/{name}.yaml"))


@pytest.mark.parametrize(
    ("name", "images", "labels", "usable", "classes"),
    [
        ("msga_folder", "mine/images", "mine/masks", 10, ["0", "1", "2"]),
        ("msga_brats", "brats/images", "brats/labels", 7, ["0", "1", "2", "4"]),
    ],
)
def test_images_with_labels_are_counted_by_class(name, images, labels, usable, classes, capsys):
    written(name)
    options = ["--input", f"datasets/{images}", "--labels", f"datasets/{labels}", "--json", "report.json"]
    assert main(["medseg", "check", *options]) == 0
    assert f"{usable} usable" in capsys.readouterr().out
    report = json.loads(Path("report.json").read_text())
    assert (report["files"], report["usable"]) == (usable, usable)
    assert list(report["classes"]) == classes
    assert sum(each["share"] for each in report["classes"].values()) == pytest.approx(1)


def test_dicom_images_need_no_labels(capsys):
    written("medusa_rsna")
    assert main(["medseg", "check", "--input", "datasets/rsna_pneumonia/stage_2_train_images"]) == 0
    assert "12 usable" in capsys.readouterr().out


def write_xray(path, number, **values):
    """Write an X-ray in the series and the study of all others."""
    pixels = np.random.default_rng(number).integers(0, 4000, (40, 30), np.uint16)
    dataset = dicom.image_dataset(pixels, bits=12)
    for keyword, value in ({"Modality": "DX", "SOPInstanceUID": f"1.2.4.{number}"} | values).items():
        setattr(dataset, keyword, value)
    dicom.save(path, dataset)


PLACED = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}


@pytest.mark.parametrize("place", [{}, PLACED], ids=["unplaced", "placed"])
def test_xrays_of_one_series_are_images_of_their_own_for_every_command(capsys, place):
    names = ["ill/1.2.840.1", "ill/2.dcm", "well/3.dcm", "well/4.dcm"]
    for number, name in enumerate(names):
        write_xray(Path("xrays", name), number, PixelSpacing=[0.2, 0.2], **place)
    assert main(["medseg", "check", "--input", "xrays"]) == 0
    assert "4 usable" in capsys.readouterr().out
    assert [each.name for each in ClassFolders(Path("xrays")).images()] == names
    assert not is_dicom_series(Path("xrays/ill"))
    assert main(["medseg", "check", "--input", "xrays/well"]) == 0
    assert "2 usable" in capsys.readouterr().out


def test_slices_of_one_series_stay_one_volume(capsys):
    dicom.write_series(Path("scans/ct"), dicom.Grid(shape=(3, 20, 24)))
    write_xray(Path("scans/xray.dcm"), 0)
    assert main(["medseg", "check", "--input", "scans"]) == 0
    assert "2 usable" in capsys.readouterr().out


def test_a_missing_label_is_told_and_gives_exit_code_1(capsys):
    written("msga_folder")
    Path("datasets/mine/masks/case3.png").unlink()
    assert main(["medseg", "check", "--input", "datasets/mine/images", "--labels", "datasets/mine/masks"]) == 1
    out = capsys.readouterr().out
    assert "9 usable" in out
    assert "case3" in out
