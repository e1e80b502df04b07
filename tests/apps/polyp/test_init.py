"""The command `init` on pictures with masks of polyps."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from foveal.core.cli import main
from foveal.tests.fixtures.datasets_2d import merged
from foveal.tests.fixtures.masks import write_mask, write_pair
from foveal.tests.fixtures.own_data import scored, split_of, train_a_step


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for patient in range(4):
        for frame in range(2):
            write_pair(tmp_path / "frames", f"p{patient}_frame{frame}", (40, 44))


def test_the_config_trains_on_the_folder_and_keeps_patients_apart(capsys):
    assert main(["init", "polyp", "frames"]) == 0
    out = capsys.readouterr().out
    assert "8 pictures with masks of 44 × 40 pixels" in out
    assert "4 patients, as names begin alike, such as p0" in out
    rows = split_of("frames_split.csv")
    assert {row["patient"] for row in rows} == {"p0", "p1", "p2", "p3"}
    run = train_a_step("polyp", "frames.yaml")
    assert scored(run) == {row["name"] for row in rows if row["split"] == "validation"}
    model = yaml.safe_load(Path("frames.yaml").read_text())["model"]["init_args"]
    assert model["frame"] == [128, 128]


def test_a_full_network_has_the_published_encoder():
    for size, encoder in (("light", "resnet18"), ("full", "res2net50d")):
        assert main(["init", "polyp", "frames", "--size", size, "--overwrite"]) == 0
        model = merged(str(Path("frames.yaml").absolute()))["model"]["init_args"]
        assert model["net"]["class_path"].endswith("PraNet")
        assert model["net"]["init_args"]["encoder"] == encoder


def test_folders_may_be_given(capsys):
    given = ["--input", "frames/images", "--labels", "frames/masks", "--output", "mine.yaml"]
    assert main(["polyp", "init", *given, "--patient", "frame([0-9])"]) == 2
    assert "too few patients (2); 3 at least are needed" in capsys.readouterr().err
    assert main(["polyp", "init", *given]) == 0
    assert "masks: " in Path("mine.yaml").read_text()


def test_missing_masks_and_other_classes_are_told(capsys):
    Path("frames/masks").rename("frames/notes")
    assert main(["polyp", "init", "frames"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: frames: has no folder of masks; it holds images/, notes/. Expected:\n  FOLDER/images/<name>.jpg\n"
    )
    Path("frames/notes").rename("frames/masks")
    write_mask(Path("frames"), "p0_frame0", np.repeat(np.uint8([[0], [100], [200], [255]]), 10, 0).repeat(44, 1))
    assert main(["polyp", "init", "frames"]) == 2
    assert "use `foveal init medseg` for more classes" in capsys.readouterr().err
