"""The command `init` on a folder of pictures."""

import re
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
    for number in range(5):
        picture(tmp_path / "photos" / f"p{number}.png", (72, 80))


@pytest.mark.parametrize(("scale", "size", "base"), [(2, "full", "demo_x2"), (3, "light", "quickstart_dlgsanet")])
def test_the_config_trains_on_the_folder(scale, size, base, capsys):
    assert main(["init", "superres", "photos", "--scale", str(scale), "--size", size]) == 0
    out = capsys.readouterr().out
    assert "5 pictures of 80 × 72 pixels" in out
    assert [line.split()[2] for line in out.splitlines() if line.startswith("  foveal")] == ["check", "fit", "infer"]
    rows = split_of("photos_split.csv")
    assert scored(train_a_step("superres", "photos.yaml")) == {
        each["name"] for each in rows if each["split"] == "validation"
    }
    content = yaml.safe_load(Path("photos.yaml").read_text())
    assert content["base"] == f"configs/superres/{base}.yaml"
    assert content["model"]["init_args"]["net"]["init_args"] == {"scale": scale}
    assert content["data"]["init_args"]["patch"] == {2: 32, 3: 24}[scale]


def test_another_seed_gives_another_split_and_the_same_seed_the_same():
    texts = []
    for seed in ("0", "0", "1"):
        assert main(["superres", "init", "photos", "--seed", seed, "--overwrite"]) == 0
        texts.append(Path("photos_split.csv").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_folders_of_parts_are_taken_as_they_are(capsys):
    for part in ("train", "val"):
        for number in range(2):
            picture(Path("parts", part, f"{part}{number}.png"), (72 if part == "train" else 64, 80))
    assert main(["superres", "init", "parts", "--output", "mine.yaml"]) == 0
    found = [line for line in capsys.readouterr().out.splitlines() if " pictures of " in line]
    assert [line[:25] for line in found] == ["- 2 pictures of 80 × 72 p", "- 2 pictures of 80 × 64 p"]
    data = yaml.safe_load(Path("mine.yaml").read_text())["data"]["init_args"]
    folders = [data[part][0]["init_args"] for part in ("train", "validation")]
    assert folders == [{"folder": str(Path("parts", part).resolve())} for part in ("train", "val")]
    assert data["test"] is None
    assert not Path("mine_split.csv").exists()


def test_pictures_in_folders_below_do_not_count(capsys):
    picture(Path("photos/thumbs/small.png"), (16, 16))
    assert main(["superres", "init", "photos", "--scale", "4"]) == 0
    assert "5 pictures of 80 × 72 pixels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["photos"], "photos.yaml: exists already; give --overwrite to replace it, or another --output."),
        (["nowhere"], "nowhere: there is no such folder; give the folder that holds the data."),
        (["few", "--output", "few.yaml"], "few: too few pictures (1); 3 at least are needed, one each for train, "),
        (
            ["empty", "--output", "few.yaml"],
            "empty: holds no pictures such as *.png, *.jpg or *.tif. Expected:\n  FOLD",
        ),
        (["photos", "--output", "few.txt"], "--output few.txt: is no YAML file; end it in .yaml."),
    ],
)
def test_what_is_missing_is_told(capsys, arguments, told):
    Path("photos.yaml").touch()
    Path("empty").mkdir()
    picture(Path("few/one.png"), (72, 80))
    assert main(["superres", "init", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"error: {told}")
    assert not Path("few.yaml").exists()


def test_a_picture_that_cannot_be_used_is_told(capsys):
    Path("photos/p1.png").write_bytes(b"no picture")
    assert main(["superres", "init", "photos"]) == 2
    err = capsys.readouterr().err
    assert re.match("error: photos: 1 thing is wrong, the first is p1.png: ", err)
    assert "`foveal superres check --input photos` lists all" in err


@pytest.mark.parametrize("words", [["init", "superres", "--help"], ["superres", "init", "-h"]])
def test_the_help_tells_what_to_give(capsys, words):
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "foveal init superres photographs --scale 2" in out
    assert len(out.splitlines()) < 40
