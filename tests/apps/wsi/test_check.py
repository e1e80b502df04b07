"""`foveal wsi check` on slides, features and tables of labels."""

import json

import numpy as np
import pytest
import tifffile

from foveal.core.cli import main
from foveal.tests.fixtures.bags import write_folder, write_groups, write_h5, write_labels, write_pt
from foveal.tests.fixtures.slide import stained, write_tiff


def check(folder, *options):
    report = folder / "report.json"
    code = main(["wsi", "check", "--json", str(report), *map(str, options)])
    return code, json.loads(report.read_text())


def told(report, what="errors"):
    return {each["name"]: each[what] for each in report["items"] if each[what]}


@pytest.fixture
def slides(tmp_path):
    for seed, name in enumerate(("s0.tif", "s1.tif")):
        (tmp_path / "slides").mkdir(exist_ok=True)
        write_tiff(tmp_path / "slides" / name, stained(300, 400, seed), levels=3)
    return tmp_path / "slides"


def damage_level(path, level):
    """Overwrite the pixels of one level alone."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[level]
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    data = bytearray(path.read_bytes())
    for offset, count in places:
        data[offset : offset + count] = b"\xff" * count
    path.write_bytes(bytes(data))


def test_good_data_are_good(slides, tmp_path, capsys):
    features, labels = write_folder(tmp_path, bags=2)
    code, report = check(tmp_path, "--input", slides, "--features", features, "--labels", labels)
    assert (code, told(report), told(report, "warnings"), report["problems"]) == (0, {}, {}, [])
    assert report["features"] == {"bags": 2, "tiles": "6 to 6, median 6", "channels": 8}
    assert report["labels"] == {"normal": 1, "tumour": 1}
    assert len(report["items"]) == 4
    out = capsys.readouterr().out
    assert "4 files, 4 usable" in out
    assert "tumour" in out


def test_what_is_wrong_with_slides_is_told(slides, tmp_path):
    write_tiff(slides / "blank.tif", np.full((300, 300, 3), 243, np.uint8))
    write_tiff(slides / "nameless.tif", stained(300, 400, 3), mpp=None)
    damage_level(write_tiff(slides / "damaged.tif", stained(300, 400, 4), levels=3), 1)
    code, report = check(tmp_path, "--input", slides)
    assert code == 1
    errors = told(report)
    assert errors.keys() == {"blank.tif", "nameless.tif", "damaged.tif"}
    assert "no tissue was found" in errors["blank.tif"][0]
    assert "give --slide_mpp" in errors["nameless.tif"][0]
    assert errors["damaged.tif"][0].startswith("level 1 (200 × 150): the file is damaged")
    assert len(errors["damaged.tif"]) == 1
    (slides / "damaged.tif").unlink()
    (slides / "blank.tif").unlink()
    assert check(tmp_path, "--input", slides, "--slide_mpp", "0.5")[0] == 0


def test_what_is_wrong_with_features_is_told(tmp_path):
    folder, _ = write_folder(tmp_path, bags=3)
    values = np.ones((4, 8), np.float16)
    write_h5(folder / "wide.h5", np.ones((4, 9), np.float16))
    write_h5(folder / "one.h5", values[:1])
    write_pt(folder / "copy.pt", values)
    write_h5(folder / "first.h5", values)
    values[2, 1] = np.nan
    write_h5(folder / "nan.h5", values)
    write_h5(folder / "other.h5", values[:2], encoder="resnet50")
    (folder / "text.h5").write_text("no HDF5")
    code, report = check(tmp_path, "--features", folder)
    assert code == 1
    errors, warnings = told(report), told(report, "warnings")
    assert errors.keys() == {"wide", "nan", "other", "text"}
    assert errors["wide"] == ["features of channels 9, but most are of 8; all must be made alike"]
    assert "no finite numbers in 1 of 4 rows, first row 2" in errors["nan"][0]
    assert errors["other"] == ["features of encoder resnet50, but most are of None; all must be made alike"]
    assert "is no HDF5 file" in errors["text"][0]
    assert warnings == {"one": ["a bag of one tile"], "first": ["the same features as copy"]}
    assert report["features"]["bags"] == 9


def test_labels_that_do_not_fit_and_patients_in_several_parts_are_told(tmp_path, capsys):
    folder, _ = write_folder(tmp_path, bags=5)
    rows = [
        ["s0.svs", "normal", "p0", "train"],
        ["s1", "tumour", "p0", "test"],
        ["s2", "tumour", "p1", "test"],
        ["s2", "normal", "p1", "test"],
        ["s3", "", "p2", "train"],
        ["absent", "normal", "p3", "train"],
    ]
    labels = write_labels(tmp_path / "l.csv", rows, ("slide", "label", "patient", "split"))
    code, report = check(tmp_path, "--features", folder, "--labels", labels)
    assert code == 1
    assert report["labels_without_image"] == ["absent"]
    assert told(report) == {"s4": ["has no label in l.csv"]}
    assert report["problems"] == [
        "labels, line 5: s2 is listed already in line 4",
        "labels, line 6: the label is missing",
        "labels: the patient p0 is in the parts test and train; keep each patient in one",
    ]
    assert report["parts"]["test"] == "3 slides of 2 patients: 1 normal, 2 tumour"
    assert "p0" in capsys.readouterr().out


def test_slides_without_features_and_features_without_slides_are_told(slides, tmp_path):
    folder = tmp_path / "features"
    write_h5(folder / "s1.h5", np.eye(4, 8, dtype=np.float16))
    write_h5(folder / "s2.h5", np.eye(5, 8, dtype=np.float16))
    code, report = check(tmp_path, "--input", slides, "--features", folder)
    assert code == 0
    assert told(report, "warnings") == {"s0.tif": [f"has no features in {folder}"], "s2": [f"has no slide in {slides}"]}


def test_one_file_of_groups_and_other_columns(tmp_path):
    file = write_groups(tmp_path / "f.h5", ["a", "b"])
    labels = write_labels(tmp_path / "l.csv", [["a", "x"], ["b", "y"]], ("image", "class"))
    code, report = check(
        tmp_path, "--features", file, "--labels", labels, "--slide_column", "image", "--label_column", "class"
    )
    assert (code, report["labels"]) == (0, {"x": 1, "y": 1})


def test_mistakes_in_options_are_told(slides, tmp_path, capsys):
    assert main(["wsi", "check"]) == 2
    assert "--input or --features must be given" in capsys.readouterr().err
    assert main(["wsi", "check", "--input", str(slides), "--labels", str(tmp_path / "no.csv")]) == 2
    assert "no.csv: there is no such file" in capsys.readouterr().err
    assert main(["wsi", "check", "--features", str(tmp_path / "no")]) == 2
    assert "there is no such folder or file of features" in capsys.readouterr().err
