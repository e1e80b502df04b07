"""The command `init` on volumes with labels."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from foveal.core.cli import main
from foveal.tests.fixtures.own_data import scored, split_of, train_a_step
from foveal.tests.fixtures.volumes import arrays, save, write_described, write_pairs

DECATHLON = {
    "modality": {"0": "CT"},
    "labels": {"0": "background", "1": "liver", "2": "tumour"},
    "training": [
        {"image": f"./imagesTr/scan_{number}_0000.nii.gz", "label": f"./labelsTr/scan_{number}.nii.gz"}
        for number in range(3)
    ],
}
NNUNET = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "organ": 1, "lesion": 2},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def written(name):
    content = yaml.safe_load(Path(name).read_text())
    return content["model"]["init_args"]["net"]["init_args"], content["data"]["init_args"]


def test_two_folders_are_trained_on_with_patients_apart(capsys):
    write_pairs(Path("scans"), 6, "patient00{}_visit1")
    for number in range(2):
        values, labels = arrays(number + 10)
        save(values, Path(f"scans/images/patient00{number}_visit2.nii.gz"))
        save(labels, Path(f"scans/labels/patient00{number}_visit2.nii.gz"))
    assert main(["init", "volseg", "scans", "--size", "light"]) == 0
    out = capsys.readouterr().out
    assert "8 volumes with labels; channels of each: 1" in out
    assert "6 patients, as names begin alike, such as patient000" in out
    rows = split_of("scans_split.csv")
    net, data = written("scans.yaml")
    assert net == {"num_classes": 3, "in_channels": 1, "patch": [2, 4, 4], "group": [2, 8, 8]}
    assert data["modality"] == "MR"
    assert data["memory_mb"] == 1500
    assert data["train"][0]["init_args"]["classes"] == ["class 1", "class 2"]
    assert 1 <= data["workers"] <= 8
    assert scored(train_a_step("volseg", "scans.yaml")) == {row["name"] for row in rows if row["split"] == "validation"}


@pytest.mark.parametrize(
    ("description", "channels", "layout", "modality"),
    [(DECATHLON, 1, "Decathlon", "CT"), (NNUNET, 2, "NnUNetFolder", "MR")],
)
def test_a_dataset_that_describes_itself_is_believed(description, channels, layout, modality):
    write_described(Path("set"), description, 3, channels)
    assert main(["volseg", "init", "set"]) == 0
    net, data = written("set.yaml")
    assert (net["num_classes"], net["in_channels"]) == (3, channels)
    assert data["train"][0]["class_path"].endswith(layout)
    assert data["modality"] == modality
    assert len(split_of("set_split.csv")) == 3


def test_a_gap_between_labels_is_closed():
    for number in range(3):
        values, labels = arrays(number)
        save(values, Path(f"scans/images/case{number}.nii.gz"))
        save(np.where(labels == 2, 5, labels).astype(labels.dtype), Path(f"scans/labels/case{number}.nii.gz"))
    assert main(["volseg", "init", "scans", "--size", "full"]) == 0
    net, data = written("scans.yaml")
    assert (net["num_classes"], data["relabel"]) == (3, {5: 2})
    train_a_step("volseg", "scans.yaml")


def test_what_is_missing_is_told(capsys):
    write_pairs(Path("scans"), 2)
    assert main(["volseg", "init", "scans"]) == 2
    assert capsys.readouterr().err == (
        "error: scans: too few patients (2); 3 at least are needed, one each for train, validation, test.\n"
    )
    Path("scans/labels/case1.nii.gz").unlink()
    assert main(["volseg", "init", "scans"]) == 2
    err = capsys.readouterr().err
    assert "scans/images: 1 thing is wrong, the first is case1.nii.gz: has no labels of its name" in err
    assert "`foveal volseg check --input scans/images --labels scans/labels` lists all" in err
    Path("scans/labels").rename("scans/other")
    assert main(["volseg", "init", "scans"]) == 2
    assert (
        "scans: has no folder of labels; it holds images/, other/. Expected:\n  FOLDER/images/"
        in capsys.readouterr().err
    )
