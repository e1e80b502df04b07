"""Processes and restarts change nothing of a training."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from foveal.core.catalogue import configs
from foveal.core.cli import run_app
from foveal.data.io.image import write_image
from foveal.tests.fixtures.training import equal, state

CONFIGS = sorted(name for name in configs() if name.startswith("configs/superres/"))


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def images(folder: str, scale: int = 1) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (3, 40 * scale, 48 * scale), dtype=np.uint8)
        write_image(Path(folder, f"{number}.png"), noise)


def small(**data: object) -> str:
    """Write a config of a small network on generated images."""
    images("images")
    folder = {"class_path": "foveal.data.datasets.image_folder.ImageFolder", "init_args": {"folder": "images"}}
    net = {"scale": 2, "dim": 12, "groups": 1, "pairs": 1, "heads": 2}
    content = {
        "model": {
            "class_path": "foveal.apps.superres.task.SuperResolution",
            "init_args": {"net": {"class_path": "foveal.apps.superres.models.dlgsanet.DLGSANet", "init_args": net}},
        },
        "data": {
            "class_path": "foveal.apps.superres.data.SuperResolutionData",
            "init_args": {"train": [folder], "validation": [folder], "patch": 8, "batch_size": 4, "repeats": 4} | data,
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False},
    }
    Path("small.yaml").write_text(yaml.safe_dump(content))
    return "small.yaml"


def test_resuming_with_loading_processes_changes_nothing() -> None:
    config = small(workers=1)
    run_app("superres", ["fit", "--config", config])
    run_app("superres", ["fit", "--config", config, "--trainer.max_epochs", "1"])
    run_app("superres", ["fit", "--config", config, "--ckpt_path", "last"])
    assert equal(state(Path("runs/superres/small/last.ckpt")), state(Path("runs/superres/small-2/last.ckpt")))


@pytest.mark.slow
def test_two_processes_train_and_test_as_one() -> None:
    config = small(workers=0)
    pair = ["--trainer.strategy", "ddp", "--trainer.devices", "2"]
    for command in (["fit"], ["test", "--ckpt_path", "last"]):
        line = [sys.executable, "-m", "foveal.apps.superres", *command, "--config", config, *pair]
        done = subprocess.run(line, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    run_app("superres", ["fit", "--config", config])
    run_app("superres", ["test", "--config", config, "--ckpt_path", "last"])
    for name in ("cases_val.csv", "cases_test.csv"):
        one, two = (Path("runs/superres", run, name).read_text().splitlines() for run in ("small", "small-2"))
        assert [line.split(",")[:2] for line in one] == [line.split(",")[:2] for line in two]
        assert len(one) == 1 + 3
        assert np.allclose(
            *(np.loadtxt(each[1:], delimiter=",", usecols=range(2, 6)) for each in (one, two)), atol=1e-3
        )
