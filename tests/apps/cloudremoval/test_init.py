"""The command `init` on an archive of places."""

from pathlib import Path

import pytest
import yaml

from foveal.core.cli import main
from foveal.tests.fixtures.own_data import split_of, train_a_step
from foveal.tests.fixtures.scenes import left_half, write_mask, write_scene

DATES = ("2018-02-10", "2018-02-20", "2018-03-02", "2018-03-12")


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_places(names, dates=DATES):
    """Write places of which the last date is clear, and the others have clouds on the left."""
    for place in names:
        for number, date in enumerate(dates):
            clouds = left_half(0.0 if date == DATES[-1] else 0.5)
            write_scene(Path("archive", place, "image", f"{date}.tif"), 0.1 + 0.1 * number)
            write_mask(Path("archive", place, "cloud_mask", f"{date}.tif"), clouds)


@pytest.mark.parametrize(("size", "epochs"), [("light", 20), ("full", 100)])
def test_the_config_trains_on_the_archive_with_places_apart(size, epochs, capsys):
    write_places("abcd")
    assert main(["init", "cloudremoval", "archive", "--size", size]) == 0
    out = capsys.readouterr().out
    assert "4 places, 16 dates, clouds told by masks" in out
    assert "a: 4 dates, 2018-02-10 to 2018-03-12, cloud 0% to 50%" in out
    assert len(split_of("archive_split.csv")) == 4
    config = yaml.safe_load(Path("archive.yaml").read_text())
    data = config["data"]["init_args"]
    assert config["trainer"]["max_epochs"] == epochs
    assert config["model"]["init_args"]["tile"] == data["patch"]
    assert data["train"][0]["init_args"]["part"] == "train"
    train_a_step("cloudremoval", "archive.yaml", "--data.patch", "20")


def test_what_is_missing_is_told(capsys):
    Path("archive").mkdir()
    assert main(["cloudremoval", "init", "archive"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: archive: holds no place; arrange images as <place>/<date>.tif. Expected:\n  FOLDER/<place>/<date>.tif"
    )
    write_places("ab")
    assert main(["cloudremoval", "init", "archive"]) == 2
    assert "archive: too few places with a clear date and enough others (2); 3 at least" in capsys.readouterr().err
    write_places("c", DATES[:2])
    assert main(["cloudremoval", "init", "archive", "--dates", "5"]) == 2
    assert "no place has a date with at most 1.0% cloud and 5 others" in capsys.readouterr().err


def test_a_per_cent_is_no_share_of_cloud(capsys):
    assert main(["cloudremoval", "init", "archive", "--most_cloud", "95"]) == 2
    assert "--most_cloud 95: give a share from 0 to 1" in capsys.readouterr().err
