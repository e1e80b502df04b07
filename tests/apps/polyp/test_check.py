"""The command `check` on pictures with masks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.core.cli import main
from foveal.tests.fixtures.datasets_2d import merged, write_datasets

TRAIN = Path("datasets/polyp/kvasir_seg_352/train")


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_datasets(merged("configs/polyp/quickstart_pranet.yaml"))


def test_pictures_with_masks_can_be_used(capsys):
    assert main(["polyp", "check", "--input", str(TRAIN / "images"), "--labels", str(TRAIN / "masks")]) == 0
    assert "4 usable" in capsys.readouterr().out


def test_a_mask_of_another_size_is_told_and_gives_exit_code_1(capsys):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(TRAIN / "masks" / "case2.png")
    assert main(["polyp", "check", "--input", str(TRAIN / "images"), "--labels", str(TRAIN / "masks")]) == 1
    out = capsys.readouterr().out
    assert "3 usable" in out
    assert "case2" in out
