"""Every config of the app trains, is tested, and its weights restore a picture."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from foveal.core.catalogue import ROOT, configs, with_bases
from foveal.core.cli import main
from foveal.data.io.image import read_image, write_image

OVERLAY = "configs/udc/kodak.yaml"
CONFIGS = sorted(name for name in configs() if name.startswith("configs/udc/") and "mpgnet" not in name)
CONFIGS.remove(OVERLAY)
LIGHT = {
    "DWFormer": {"widths": [4, 8, 12, 8, 4], "depths": [1, 1, 1, 1, 1]},
    "UNet": {"widths": [4, 4, 4, 4, 4, 4]},
}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def folders(content):
    """The folders that a config names."""
    if isinstance(content, list):
        return [found for each in content for found in folders(each)]
    if not isinstance(content, dict):
        return []
    own = [value for key, value in content.items() if key in ("folder", "high", "low")]
    return own + [found for each in content.values() for found in folders(each)]


def generate(config):
    """Make pictures where a config and those that it builds on expect them."""
    for layer in with_bases(["--config", str(ROOT / config)])[1::2]:
        for folder in folders(yaml.safe_load(Path(layer).read_text())):
            Path(folder).mkdir(parents=True, exist_ok=True)
            for number in range(2):
                noise = np.random.default_rng(number).integers(0, 200, (3, 40, 48), dtype=np.uint8)
                write_image(Path(folder, f"{number}.png"), noise)


def small(config):
    """The options that make a config train in moments."""
    merged = {}
    for layer in with_bases(["--config", str(ROOT / config)])[1::2]:
        model = yaml.safe_load(Path(layer).read_text()).get("model", {})
        merged |= model.get("init_args", {}).get("net", {})
    light = LIGHT[merged["class_path"].rpartition(".")[2]]
    values = [f"--model.init_args.net.init_args.{name}={value}" for name, value in light.items()]
    values += ["--data.init_args.batch_size=2", "--data.init_args.patch=32", "--data.init_args.workers=0"]
    values += ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.limit_val_batches=1"]
    return ["--config", "configs/trainer/debug.yaml", *values, "--trainer.limit_test_batches=1"]


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_trains_and_its_weights_restore(config, capsys):
    generate(config)
    options = ["--config", config, *small(config)]
    assert main(["udc", "fit", *options]) == 0
    folder = Path("runs", Path(config).stem)
    assert {"cases_val.csv", "samples.png", "last.ckpt", "best.ckpt"} < {each.name for each in folder.iterdir()}
    if "quickstart" in config:
        generate(OVERLAY)
        options += ["--config", OVERLAY]
    assert main(["udc", "test", *options, "--ckpt_path", "best"]) == 0
    assert ("kodak" in (folder / "cases_test.csv").read_text()) == ("quickstart" in config)
    write_image("in.png", np.random.default_rng(0).integers(0, 255, (3, 37, 41), dtype=np.uint8))
    weights = ["--weights", str(folder / "best.ckpt"), "--device", "cpu", "--quiet"]
    assert main(["udc", "infer", *weights, "--input", "in.png", "--output", "out.png"]) == 0
    assert read_image("out.png").shape == (3, 37, 41)
