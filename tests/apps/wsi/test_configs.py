"""Every config of the app builds its whole network; what is drawn of runs, and what a run refuses."""

from pathlib import Path

import pytest

from foveal.core.catalogue import configs
from foveal.core.cli import main
from foveal.tests.fixtures.bags import write_datasets
from foveal.tests.fixtures.datasets_2d import merged
from foveal.tests.fixtures.small_runs import shipped, whole_network

CONFIGS = sorted(name for name in configs() if name.startswith("configs/wsi/"))
DEBUG = "configs/trainer/debug.yaml"


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_builds_its_whole_network(config, capsys):
    content = shipped("wsi", config, capsys)
    net = whole_network(content)
    assert net.num_classes == content["model"]["init_args"]["net"]["init_args"]["num_classes"]
    assert content["trainer"]["max_epochs"]


@pytest.mark.parametrize("config", ["configs/wsi/acmil_camelyon16.yaml", "configs/wsi/acmil_bracs.yaml"])
def test_published_recipes_are_the_published_ones(config, capsys):
    model = shipped("wsi", config, capsys)["model"]["init_args"]
    assert model["optimizer"]["init_args"]["lr"] == 1e-4
    assert model["optimizer"]["init_args"]["weight_decay"] == 1e-5
    assert model["scheduler"] is None
    expected = {"in_channels": 384, "dim": 128, "branches": 5, "top_k": 10, "mask_ratio": 0.6, "hidden": 128}
    assert expected.items() <= model["net"]["init_args"].items()
    assert not model["standardise"]


@pytest.mark.slow
def test_attention_of_several_runs_is_drawn_together(capsys):
    for name in ("acmil", "abmil"):
        options = ["--config", f"configs/wsi/quickstart_{name}.yaml", "--config", DEBUG, "--trainer.accelerator", "cpu"]
        assert main(["wsi", "fit", *options, "--trainer.check_val_every_n_epoch", "1"]) == 0
    runs = ["runs/wsi/quickstart_acmil", "runs/wsi/quickstart_abmil"]
    assert main(["wsi", "concentration", "--runs", *runs, "--output", "both.png"]) == 0
    assert Path("both.png").read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr().out
    assert all(f"{Path(run).name}: entropy " in told for run in runs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "gone", "--output", "a.png"], "gone/attention_val.csv: there is no such file"),
        (["--runs", "gone", "--output", "a.jpg"], "--output a.jpg: give a file whose name ends in .png"),
    ],
)
def test_what_cannot_be_drawn_is_told(arguments, message, capsys):
    assert main(["wsi", "concentration", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_leakage_is_one_line_before_training(capsys):
    content = merged("configs/wsi/acmil_bracs.yaml")
    write_datasets(content)
    labels = Path("datasets/bracs/labels.csv")
    labels.write_text(labels.read_text().replace(",p8\n", ",p1\n"))
    assert main(["wsi", "fit", "--config", "configs/wsi/acmil_bracs.yaml", "--data.workers", "0"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: 1 patients are in the training and the validation set, such as 'p1'")
    assert not list(Path("runs").glob("*/*"))
