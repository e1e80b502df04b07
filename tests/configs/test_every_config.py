"""Every config trains a step, and its weights are tested, used and exported, on tiny files where it expects them."""

import csv
import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from foveal.apps.superres.task import SuperResolution
from foveal.core.catalogue import ROOT, configs
from foveal.core.cli import main
from foveal.tests.fixtures.datasets_2d import merged
from foveal.tests.fixtures.photographs import small_samples
from foveal.tests.fixtures.small_runs import network

OVERLAYS = [name for name in configs() if name.startswith("configs/trainer/")]
CONFIGS = [name for name in configs() if name not in OVERLAYS]
WRITTEN = {"config.yaml", "manifest.json", "metrics.csv", "cases_val.csv", "curves.png", "best.ckpt", "last.ckpt"}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """Work in an empty folder, on small photographs and tiles; TorchScript need not make a program fast."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small_samples(monkeypatch)
    card = SuperResolution.card
    monkeypatch.setattr(SuperResolution, "card", lambda task: replace(card(task), tile=32, overlap=8))
    with torch.jit.optimized_execution(False):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_trains_and_its_weights_are_tested_used_and_exported(config):
    app = Path(config).parent.name
    recipe = importlib.import_module(f"foveal.tests.configs.recipes.{app}")
    layers = layers_of(config)
    content = merged(*layers)
    source = recipe.write(content)
    options = [word for each in layers for word in ("--config", each)] + recipe.small(content)

    assert main([app, "fit", *options]) == 0
    folder = Path("runs", app, Path(layers[0]).stem)
    classifies = "Classification" in content["model"]["class_path"]
    assert {each.name for each in folder.iterdir()} >= WRITTEN | (set() if classifies else {"samples.png"})
    assert "Unable to serialize" not in (folder / "config.yaml").read_text()
    assert main([app, "test", *options, "--ckpt_path", "last"]) == 0
    assert {row["set"] for row in csv.DictReader((folder / "cases_test.csv").open())} <= sets(content)

    if "quickstart" in config:
        assert main([app, "predict", *options, "--ckpt_path", "last", "--trainer.limit_predict_batches=1"]) == 0
        assert list((folder / "predictions").glob("*.npy"))

    weights, (form, program) = folder / "last.ckpt", exported_as(network(content), folder)
    assert main([app, "export", "--weights", str(weights), "--format", form, "--output", str(program)]) == 0
    ours, theirs = (recipe.use(content, each, source, Path(each.stem)) for each in (weights, program))
    if ours is not None:
        assert np.mean(abs(ours.astype(float) - theirs) > recipe.TOLERANCE) < 1e-3


def exported_as(network, folder):
    """Return the format of a program and its file; MPGNet draws its own noise, and is no program."""
    if network == "MPGNet":
        return "safetensors", folder / "program.safetensors"
    return "torchscript", folder / "program.pt"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_of_the_trainer_lies_over_a_config(overlay, capsys):
    assert (
        main(["wsi", "fit", "--config", "configs/wsi/quickstart_acmil.yaml", "--config", overlay, "--print_config"])
        == 0
    )
    trainer = yaml.safe_load(capsys.readouterr().out)["trainer"]
    assert (yaml.safe_load((ROOT / overlay).read_text())["trainer"]).items() <= trainer.items()


def layers_of(config):
    """Return a config alone, or a quickstart of its app below one that has no model of its own."""
    quickstart = next(name for name in CONFIGS if name.startswith(f"{Path(config).parent}/quickstart"))
    return [config] if "model" in merged(config) else [quickstart, config]


def sets(content):
    """Return the names of the sets that a config tests on."""
    return set(content["data"]["init_args"].get("test") or ["validation", "test"])
