"""The command `init` on pictures taken through a display, and on clean ones."""

import shutil
from pathlib import Path

import pytest
import yaml

from foveal.core.cli import main
from foveal.tests.fixtures.own_data import scored, split_of, train_a_step
from foveal.tests.fixtures.photographs import picture


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number in range(4):
        picture(tmp_path / "phone" / "clean" / f"p{number}.png", (72, 80))


def written(name):
    content = yaml.safe_load(Path(name).read_text())
    return content["base"], content["data"]["init_args"]


@pytest.mark.parametrize(("size", "expected"), [("light", "quickstart_dwformer"), ("full", "dwformer_poled")])
def test_pairs_are_trained_on_as_they_are(size, expected, capsys, caplog):
    shutil.copytree("phone/clean", "phone/degraded")
    assert main(["init", "udc", "phone", "--size", size, "--display", "poled"]) == 0
    out = capsys.readouterr().out
    assert "--display has no effect: the pictures of phone/degraded were taken through one." in caplog.text
    assert "4 pairs of a degraded and a clean picture of 80 × 72 pixels" in out
    assert "check --input phone/degraded --clean phone/clean" in out
    base, data = written("phone.yaml")
    assert base == f"configs/udc/{expected}.yaml"
    assert data["camera"] is None
    rows = split_of("phone_split.csv")
    assert scored(train_a_step("udc", "phone.yaml")) == {row["name"] for row in rows if row["split"] == "validation"}


def test_clean_pictures_alone_are_degraded_by_a_model():
    assert main(["udc", "init", "phone/clean", "--display", "poled"]) == 0
    base, data = written("clean.yaml")
    assert base == "configs/udc/quickstart_dwformer.yaml"
    assert data["camera"]["init_args"] == {"display": "poled"}
    train_a_step("udc", "clean.yaml")


def test_pictures_in_folders_below_do_not_count(capsys):
    shutil.copytree("phone/clean", "phone/degraded")
    picture(Path("phone/degraded/thumbs/p0.png"), (6, 6))
    picture(Path("phone/clean/thumbs/other.png"), (6, 6))
    assert main(["udc", "init", "phone"]) == 0
    assert "4 pairs of a degraded and a clean picture of 80 × 72 pixels" in capsys.readouterr().out
    assert main(["udc", "init", "phone/clean"]) == 0
    assert "4 clean pictures alone of 80 × 72 pixels" in capsys.readouterr().out


@pytest.mark.parametrize(("pairs", "alone"), [("train", "val"), ("val", "train")])
def test_pairs_and_clean_pictures_alone_do_not_mix(pairs, alone, capsys):
    for folder in (f"{pairs}/degraded", f"{pairs}/clean", alone):
        shutil.copytree("phone/clean", f"mixed/{folder}")
    assert main(["udc", "init", "mixed"]) == 2
    told = f"error: mixed/{alone}: has no degraded pictures, but mixed/{pairs} has. Expected:\n  FOLDER/degraded"
    assert capsys.readouterr().err.startswith(told)
    assert not Path("mixed.yaml").exists()


def test_what_is_missing_is_told(capsys):
    Path("phone/clean").rename("phone/degraded")
    assert main(["udc", "init", "phone"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: phone: has degraded pictures, but no folder of clean ones. Expected:\n  FOLDER/degraded/<name>.png"
    )
    shutil.copytree("phone/degraded", "phone/clean")
    Path("phone/clean/p2.png").unlink()
    assert main(["udc", "init", "phone"]) == 2
    told = capsys.readouterr().err
    assert "the first is p2.png: has no partner in phone/clean; `foveal udc check --input phone/degraded " in told
    assert "--clean phone/clean` lists all" in told
