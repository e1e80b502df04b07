import json
import re

import numpy as np
import pytest

from foveal.apps.udc.pair_checks import FARTHEST_APART, shift_between
from foveal.core.cli import main
from foveal.data.io.image import write_image


def scene(height=64, width=80, channels=3, seed=0, dtype=np.uint8):
    """Blobs of light, (C, H, W)."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).random((channels, height, width))
    smooth = gaussian_filter(noise, (0, 1, 1), mode="wrap")
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (smooth * 0.9 * np.iinfo(dtype).max).astype(dtype)


@pytest.fixture
def check(tmp_path):
    """Checks one pair of pictures and gives the exit code and what the report says of the picture."""

    def run(picture, truth=None):
        write_image(tmp_path / "degraded" / "a.png", picture)
        options = ["--input", str(tmp_path / "degraded"), "--json", str(tmp_path / "report.json")]
        if truth is not None:
            write_image(tmp_path / "clean" / "a.png", truth)
            options += ["--clean", str(tmp_path / "clean")]
        code = main(["udc", "check", *options])
        (item,) = json.loads((tmp_path / "report.json").read_text())["items"]
        return code, item["errors"], item["warnings"]

    for name in ("degraded", "clean"):
        (tmp_path / name).mkdir()
    return run


def test_a_good_pair_is_good(check):
    assert check(scene() // 2, scene()) == (0, [], [])


def test_pictures_alone_need_no_partner(check):
    assert check(scene()) == (0, [], [])


@pytest.mark.parametrize(
    ("picture", "truth", "error"),
    [
        (scene(64, 60), scene(), "60x64 pixels, its clean partner 80x64"),
        (scene(dtype=np.uint16), scene(), "16 bits, its clean partner 8; convert one of them"),
        (np.full((3, 64, 80), 7, np.uint8), scene(), "constant: every sample is 7"),
        (np.uint8([10, 10, 10, 255]).repeat(5120).reshape(4, 64, 80), scene(), "constant: every sample is 10"),
        (scene(), np.zeros((3, 64, 80), np.uint8), "clean partner: constant: every sample is 0"),
        (np.roll(scene(), (3, -5), (1, 2)), scene(), r"lies \+3\.\d rows and -5\.\d columns from its clean partner"),
    ],
)
def test_what_is_no_pair_is_told(check, picture, truth, error):
    code, errors, _ = check(picture, truth)
    assert code == 1
    assert any(re.match(error, each) for each in errors), errors


def test_what_should_be_looked_at_is_told(check):
    picture = scene(channels=4)
    picture[:, :20] = 255
    code, _, warnings = check(picture)
    assert code == 0
    assert [each.split(":")[0].split(",")[0] for each in warnings] == ["saturated", "has an alpha channel"]


def test_eight_bits_in_sixteen_are_told(check):
    assert check(scene().astype(np.uint16) << 8)[2] == ["8 bits stored as 16: the lower byte of every sample is zero"]


def test_pictures_without_partners_are_told(check, tmp_path, capsys):
    write_image(tmp_path / "clean" / "b.png", scene())
    assert check(scene(), scene())[0] == 1
    assert "b.png has no picture through the display" in capsys.readouterr().out
    (tmp_path / "clean" / "a.png").unlink()
    assert check(scene())[0] == 0
    options = ["--input", str(tmp_path / "degraded"), "--clean", str(tmp_path / "clean")]
    assert main(["udc", "check", *options]) == 1
    assert "has no partner in" in capsys.readouterr().out


def test_a_missing_folder_of_partners_is_told_before_pictures_are_read(check, tmp_path, capsys, monkeypatch):
    assert check(scene())[0] == 0
    monkeypatch.delattr("foveal.data.checks.check_folder")
    assert main(["udc", "check", "--input", str(tmp_path / "degraded"), "--clean", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("error: --clean nowhere: there is no such file or folder; check the path")


def test_the_shift_is_told_under_blur_dimming_and_noise():
    from scipy.ndimage import gaussian_filter

    truth = scene(128, 160, seed=3)
    taken = gaussian_filter(np.roll(truth, (2, 4), (1, 2)).astype(float), (0, 2, 2)) * 0.2
    taken += np.random.default_rng(0).normal(0, 2, taken.shape)
    rows, columns = shift_between(taken.clip(0, 255).astype(np.uint8), truth)
    assert abs(rows - 2) < FARTHEST_APART
    assert abs(columns - 4) < FARTHEST_APART
