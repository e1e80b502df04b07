"""The command `check` on images, volumes and X-rays with labels."""

import json
from pathlib import Path

import pytest

from foveal.core.cli import main
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


def test_a_missing_label_is_told_and_gives_exit_code_1(capsys):
    written("msga_folder")
    Path("datasets/mine/masks/case3.png").unlink()
    assert main(["medseg", "check", "--input", "datasets/mine/images", "--labels", "datasets/mine/masks"]) == 1
    out = capsys.readouterr().out
    assert "9 usable" in out
    assert "case3" in out
