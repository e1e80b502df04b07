"""The command `init` on medical images with masks, or with a class each."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from foveal.core.cli import main
from foveal.tests.fixtures.dicom import image_dataset, save
from foveal.tests.fixtures.masks import write_pair
from foveal.tests.fixtures.own_data import scored, split_of, train_a_step
from foveal.tests.fixtures.volumes import write_pairs


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_classes(folder, per_class=4, size=40):
    """Write a folder of pictures for each of two classes; numbers begin anew in each."""
    for label, grey in (("healthy", 60), ("ill", 180)):
        (folder / label).mkdir(parents=True)
        for number in range(per_class):
            pixels = np.random.default_rng(number).integers(grey - 50, grey + 50, (size, size)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"case{number}.png")


def written(name):
    return yaml.safe_load(Path(name).read_text())


def test_images_with_masks_become_a_segmentation(capsys, caplog):
    for patient in range(3):
        for number in range(2):
            write_pair(Path("slices"), f"Subj_{patient}slice_{number}", (70, 66), (0, 63, 126), "L")
    assert main(["init", "medseg", "slices", "--label_column", "diagnosis"]) == 0
    assert "3 patients, as names begin alike, such as Subj_0" in capsys.readouterr().out
    assert "--label_column has no effect: slices has masks, which hold the classes." in caplog.text
    rows = split_of("slices_split.csv")
    content = written("slices.yaml")
    model, data = content["model"]["init_args"], content["data"]["init_args"]
    assert (model["net"]["init_args"]["num_classes"], model["net"]["init_args"]["in_channels"]) == (3, 1)
    assert model["classes"] == ["class 1", "class 2"]
    assert data["train"][0]["init_args"]["values"] == [0, 63, 126]
    assert (data["size"], data["crop"]) == ([64, 64], True)
    assert scored(train_a_step("medseg", "slices.yaml")) == {
        row["name"] for row in rows if row["split"] == "validation"
    }


def test_a_full_network_is_wider_and_sees_more():
    for number in range(3):
        write_pair(Path("slices"), f"case{number}", (300, 300), (0, 1), "L")
    for size, backbone, side in (("light", "resnet18", 128), ("full", "resnet34", 256)):
        assert main(["medseg", "init", "slices", "--size", size, "--overwrite"]) == 0
        content = written("slices.yaml")
        assert content["model"]["init_args"]["net"]["init_args"]["backbone"] == backbone
        assert content["data"]["init_args"]["size"] == [side, side]


def test_volumes_with_labels_are_trained_on_slice_by_slice():
    write_pairs(Path("scans"), 3)
    assert main(["medseg", "init", "scans"]) == 0
    data = written("scans.yaml")["data"]["init_args"]
    assert data["train"][0]["class_path"].endswith("VolumeSlices")
    train_a_step("medseg", "scans.yaml")


def test_a_folder_for_each_class_becomes_a_classification(capsys):
    write_classes(Path("xrays"))
    assert main(["medseg", "init", "xrays", "--size", "full"]) == 0
    assert "widths" not in written("xrays.yaml")["model"]["init_args"]["net"]["init_args"]
    assert main(["medseg", "init", "xrays", "--overwrite"]) == 0
    assert written("xrays.yaml")["model"]["init_args"]["net"]["init_args"]["widths"] == [8, 16, 32]
    assert "8 images, no patients known, each its own; classes: healthy (4), ill (4)" in capsys.readouterr().out
    rows = split_of("xrays_split.csv")
    assert {row["label"] for row in rows if row["split"] == "test"} == {"healthy", "ill"}
    assert scored(train_a_step("medseg", "xrays.yaml")) == {row["path"] for row in rows if row["split"] == "validation"}


def test_folders_of_parts_that_hold_those_of_classes_are_taken_as_they_are():
    for part in ("train", "test"):
        write_classes(Path("xrays", part))
    assert main(["medseg", "init", "xrays"]) == 0
    rows = split_of("xrays_split.csv")
    assert {row["label"] for row in rows} == {"healthy", "ill"}
    assert all((row["split"] == "test") == row["path"].startswith("test/") for row in rows)


def test_a_table_tells_classes_patients_and_split(capsys):
    write_classes(Path("xrays"))
    lines = ["filename,diagnosis,patient_id,age"]
    lines += [
        f"{label}/case{number}.png,{label},{label}{number},50" for label in ("healthy", "ill") for number in range(3)
    ]
    Path("xrays/table.csv").write_text("\n".join(lines))
    assert main(["medseg", "init", "xrays"]) == 0
    out = capsys.readouterr().out
    assert "columns of table.csv: filename (images), diagnosis (class), patient_id (patient)" in out
    assert "2 of 8 images have no class in table.csv and are left out" in out
    assert {row["patient"] for row in split_of("xrays_split.csv")} >= {"healthy0", "ill2"}
    Path("xrays/table.csv").write_text("\n".join(lines).replace("diagnosis", "finding_of_the_day"))
    assert main(["medseg", "init", "xrays", "--overwrite"]) == 2
    assert "no column is called label; give that of the class, of finding_of_the_day, " in capsys.readouterr().err
    assert main(["medseg", "init", "xrays", "--overwrite", "--label_column", "finding_of_the_day"]) == 0


def test_the_headers_of_dicom_files_tell_the_patients(capsys):
    for label in ("healthy", "ill"):
        for number in range(6):
            pixels = np.random.default_rng(number).integers(0, 255, (40, 40)).astype(np.uint8)
            dataset = image_dataset(pixels, bits=8)
            dataset.PatientID = f"{label}-{number // 2}"
            path = Path("xrays", label, f"{number}.dcm")
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, dataset)
    assert main(["medseg", "init", "xrays"]) == 0
    rows = split_of("xrays_split.csv")
    assert {row["patient"] for row in rows} == {f"{label}-{n}" for label in ("healthy", "ill") for n in range(3)}
    Path("xrays/ill/junk.dcm").write_text("junk")
    assert main(["medseg", "init", "xrays", "--overwrite"]) == 2
    assert "junk.dcm: is not a DICOM file" in capsys.readouterr().err


def test_what_is_missing_is_told(capsys):
    Path("empty").mkdir()
    assert main(["medseg", "init", "empty"]) == 2
    assert capsys.readouterr().err.startswith("error: empty: holds no images. Expected:\n  FOLDER/images/<name>.png")
    write_classes(Path("few"), 2)
    assert main(["medseg", "init", "few", "--labels", "nowhere.csv"]) == 2
    assert capsys.readouterr().err == "error: nowhere.csv: there is no such file. Give a CSV file.\n"
    assert main(["medseg", "init", "few"]) == 2
    assert (
        "few: the class healthy has images of 2 patients, but 3 at least are needed, one each for train, validation"
        in capsys.readouterr().err
    )
    Image.new("L", (40, 40)).save("few/loose.png")
    assert main(["medseg", "init", "few"]) == 2
    assert "few: nothing tells the class of loose.png, nor where its mask is" in capsys.readouterr().err
    Path("few/loose.png").unlink()
    for folder in ("few/images", "few/outlines"):  # of which neither is a class
        Path(folder).mkdir()
        Image.new("L", (8, 8)).save(f"{folder}/a.png")
    assert main(["init", "medseg", "few"]) == 2
    assert "few: nothing tells the class of images/a.png, nor where its mask is" in capsys.readouterr().err
