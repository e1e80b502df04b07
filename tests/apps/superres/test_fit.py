"""Every config of the app trains, is tested and enlarges an image; processes and restarts change nothing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import foveal
from foveal.core.catalogue import ROOT, configs, with_bases
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


def sources(content: object) -> list[dict]:
    """The arguments of every data source in a config."""
    if isinstance(content, list):
        return [found for each in content for found in sources(each)]
    if not isinstance(content, dict):
        return []
    inside = [found for each in content.values() for found in sources(each)]
    return [content] if {"folder", "high"} & content.keys() else inside


def generate(config: str, scale: int) -> None:
    """Make images where a config and those that it builds on expect them."""
    for layer in with_bases(["--config", str(ROOT / config)])[1::2]:
        for source in sources(yaml.safe_load(Path(layer).read_text())):
            images(source.get("folder") or source["high"], scale)
            if "low" in source:
                images(source["low"].format(scale=scale))


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_trains_and_its_weights_enlarge(config: str) -> None:
    named = [scale for scale in (2, 3, 4) if config.endswith(f"_x{scale}.yaml")]
    scale = 2 if "quickstart" in config else next(iter(named), 4)
    generate(config, scale)
    fast = ["--config", "configs/trainer/debug.yaml", "--data.init_args.workers", "0", "--trainer.accelerator", "cpu"]
    fast += ["--data.init_args.batch_size", "2", "--data.init_args.patch", "16", "--trainer.limit_val_batches", "1"]
    fast += ["--trainer.limit_test_batches", "1"]
    options = ["--config", config, *fast]
    assert run_app("superres", ["fit", *options]) == 0
    assert run_app("superres", ["test", *options, "--ckpt_path", "best"]) == 0
    folder = Path("runs", Path(config).stem)
    assert {"cases_test.csv", "curves.png", "samples.png", "last.ckpt"} < {each.name for each in folder.iterdir()}
    model = foveal.load_model(folder / "best.ckpt")
    assert model.card.scale == scale
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 9, 11)).shape == (1, 3, 9 * scale, 11 * scale)


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
    assert equal(state(Path("runs/small/last.ckpt")), state(Path("runs/small-2/last.ckpt")))


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
        one, two = (Path("runs", run, name).read_text().splitlines() for run in ("small", "small-2"))
        assert [line.split(",")[:2] for line in one] == [line.split(",")[:2] for line in two]
        assert len(one) == 1 + 3
        assert np.allclose(
            *(np.loadtxt(each[1:], delimiter=",", usecols=range(2, 6)) for each in (one, two)), atol=1e-3
        )
