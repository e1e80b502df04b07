"""What cannot be trained on is told by `fit` in one line, before the run leaves anything."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.core.cli import main
from foveal.tests.fixtures.datasets_2d import merged, write_datasets
from foveal.tests.fixtures.small_runs import small

CONFIG = "configs/polyp/quickstart_pranet.yaml"
PARTS = Path("datasets/polyp/kvasir_seg_352")
MASK = PARTS / "train" / "masks" / "case1.png"


def mask_of_another_size():
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(MASK)
    return "masks/case1.png: does not fit its image", "9 x 9"


def colour_mask():
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(MASK)
    return "masks/case1.png: is a colour picture", ""


def label_outside_the_classes():
    Image.fromarray(np.random.default_rng(0).integers(0, 4, (40, 36), dtype=np.uint8)).save(MASK)
    return "masks/case1.png: holds the value", ""


def no_polyp_at_all():
    for path in MASK.parent.iterdir():
        Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    return "no training mask holds the class 1 (polyp)", ""


def mask_missing():
    MASK.unlink()
    return "case1.png", "mask"


def empty_validation_folder():
    for path in (PARTS / "validation").rglob("*.png"):
        path.unlink()
    return "validation/images: holds no images", ""


@pytest.mark.parametrize(
    "damage",
    [
        mask_of_another_size,
        colour_mask,
        label_outside_the_classes,
        no_polyp_at_all,
        mask_missing,
        empty_validation_folder,
    ],
)
def test_bad_data_is_one_line_before_training(damage, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = merged(CONFIG)
    write_datasets(content)
    told = damage()
    assert main(["polyp", "fit", "--config", CONFIG, *small(content)]) == 2
    _, *lines = capsys.readouterr().err.splitlines()  # the first says what was going to be trained
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert all(words in lines[0] for words in told), lines[0]
    assert not list(Path("runs").glob("*/*"))
