"""Every config of the app builds its network, trains, is tested and segments a picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.core.catalogue import configs
from foveal.core.cli import main
from foveal.tests.fixtures.datasets_2d import merged, write_datasets
from foveal.tests.fixtures.small_runs import shipped, small, whole_network

CONFIGS = sorted(name for name in configs() if name.startswith("configs/polyp/"))


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_builds_its_whole_network(config, capsys):
    content = shipped("polyp", config, capsys)
    net = whole_network(content)
    sides = [*content["data"]["init_args"]["size"], *(content["model"]["init_args"]["frame"] or ())]
    assert all(side % net.size_multiple == 0 for side in sides)
    if content["model"]["init_args"]["scheduler"]:
        assert content["model"]["init_args"]["scheduler"]["init_args"]["total_steps"] == content["trainer"]["max_steps"]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_trains_and_its_weights_segment(config):
    content = merged(config)
    image = write_datasets(content)
    options = ["--config", config, *small(content)]
    assert main(["polyp", "fit", *options]) == 0
    assert main(["polyp", "test", *options, "--ckpt_path", "best"]) == 0
    folder = Path("runs", Path(config).stem)
    assert {"best.ckpt", "last.ckpt", "cases_val.csv", "cases_test.csv"} <= {each.name for each in folder.iterdir()}
    weights = ["--weights", str(folder / "best.ckpt"), "--device", "cpu", "--quiet"]
    assert main(["polyp", "infer", *weights, "--input", str(image), "--output", "mask.png", "--overlay", "look"]) == 0
    mask = np.asarray(Image.open("mask.png"))
    assert mask.shape == np.asarray(Image.open(image)).shape[:2]
    assert set(np.unique(mask)) <= {0, 1}
    assert list(Path("look").iterdir())
