"""Every config of the app builds its network, trains, is tested, and segments a file of its data as it was tested."""

import csv
from inspect import signature
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from foveal.core.catalogue import configs
from foveal.core.cli import main
from foveal.core.weights.load import load_program
from foveal.tests.fixtures.datasets_2d import merged
from foveal.tests.fixtures.datasets_3d import write_datasets
from foveal.tests.fixtures.small_runs import class_of, shipped, whole_network

CONFIGS = sorted(name for name in configs() if name.startswith("configs/volseg/"))
OWN = [name for name in CONFIGS if "_folder" in name]
LIGHT = {
    "DFormer": {
        "dim": 4,
        "depths": [1, 1],
        "heads": [1, 1],
        "patch": [2, 2, 2],
        "group": [2, 2, 2],
        "intervals": [2, 1],
        "supervised": 1,
    },
    "MPUNet": {"dim": 2},
    "DynUNet": {"dim": 2, "patch": [16, 16, 16]},
    "SwinUNETR": {"dim": 12, "depths": [1, 1, 1, 1], "heads": [1, 1, 1, 1], "window": 2},
}
"""Arguments that make each network light."""
PATCH = {"SwinUNETR": [32, 64, 32]}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def small(config):
    """Return the options that make a merged config small."""
    network = config["model"]["init_args"]["net"]["class_path"].rpartition(".")[2]
    values = {f"model.init_args.net.init_args.{name}": each for name, each in LIGHT[network].items()}
    values |= {
        "patch_size": PATCH.get(network, [16, 16, 16]),
        "context": [2, 2, 2],
        "patches_per_epoch": 4,
        "workers": 0,
    }
    values = {name if "." in name else f"data.init_args.{name}": each for name, each in values.items()}
    values |= {"trainer.accelerator": "cpu", "trainer.check_val_every_n_epoch": 1}
    options = [f"--{name}={yaml.safe_dump(each, default_flow_style=True).strip()}" for name, each in values.items()]
    return ["--config", "configs/trainer/debug.yaml", *(each.removesuffix("\n...") for each in options)]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_builds_its_whole_network_for_its_patch_and_schedule(config, capsys):
    content = shipped("volseg", config, capsys)
    model, data = content["model"]["init_args"], content["data"]["init_args"]
    is_light = "SwinUNETR" in model["net"]["class_path"]  # and cannot be built without memory
    net = class_of(model["net"])(**model["net"]["init_args"]) if is_light else whole_network(content)
    multiple = net.size_multiple if isinstance(net.size_multiple, tuple) else (net.size_multiple,) * 3
    patch = data["patch_size"]
    assert patch or config in OWN
    assert not patch or all(side % each == 0 for side, each in zip(patch, multiple, strict=True))
    schedule = model["scheduler"]["init_args"]
    steps = schedule.get("total_steps") or schedule.get("total_iters")
    assert steps in (None, content["trainer"]["max_steps"])


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_takes_nothing_from_the_data_and_the_network_of_the_one_it_builds_on(config, capsys):
    own, read = merged(config), shipped("volseg", config, capsys)
    given = [*own["data"]["init_args"]["train"], own["model"]["init_args"]["net"]]
    whole = [*read["data"]["init_args"]["train"], read["model"]["init_args"]["net"]]
    for mine, theirs in zip(given, whole, strict=True):
        defaults = signature(class_of(mine)).parameters
        for name, value in theirs["init_args"].items():
            expected = mine.get("init_args", {}).get(name, getattr(defaults[name], "default", None))
            assert value == (list(expected) if isinstance(expected, tuple) else expected), name


def test_weights_from_volumes_of_ones_own_have_no_licence_of_others(capsys):
    for config in OWN:
        assert not shipped("volseg", config, capsys)["model"]["init_args"]["licence"]


def test_predictions_are_named_as_their_cases():
    config = "configs/volseg/quickstart_dformer.yaml"
    content = merged(config)
    files = write_datasets(content)
    assert main(["volseg", "predict", "--config", config, *small(content)]) == 0
    (path,) = Path("runs").glob("*/predictions/*")
    assert path.name == "validation_validation.npy"
    assert np.load(path).shape == nibabel.load(files["validation"][0]).shape[::-1]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_trains_and_what_it_finds_is_what_was_scored(config):
    content = merged(config)
    files = write_datasets(content)
    options = ["--config", config, *small(content)]
    assert main(["volseg", "fit", *options]) == 0
    assert main(["volseg", "test", *options, "--ckpt_path", "last"]) == 0
    folder = Path("runs", Path(config).stem)
    names = {"best.ckpt", "last.ckpt", "cases_val.csv", "cases_test.csv", "samples.png", "curves.png"}
    assert names <= {each.name for each in folder.iterdir()}
    assert "Unable to serialize" not in (folder / "config.yaml").read_text()
    case = next(csv.DictReader((folder / "cases_test.csv").open()))
    image, label = files[case["name"]]
    command = ["--weights", f"{folder}/last.ckpt", "--device", "cpu", "--quiet", "--input", str(image)]
    tta = ["--tta"] if content["model"]["init_args"].get("tta") else []
    assert main(["volseg", "infer", *command, "--output", "found.nii.gz", *tta]) == 0
    found, truth = nibabel.load("found.nii.gz"), nibabel.load(label)
    assert np.allclose(found.affine, truth.affine)
    relabel = content["data"]["init_args"].get("relabel") or {}
    expected = overlaps(*(np.asarray(each.dataobj) for each in (found, truth)), relabel)
    scored = {name: float(value) for name, value in case.items() if name.startswith("dice")}
    assert scored["dice"] == pytest.approx(np.mean([expected[each] for each in numbers(scored, folder)]), abs=1e-6)


def overlaps(found, truth, relabel):
    """Return the Dice of each class."""
    for old, new in relabel.items():
        truth = np.where(truth == old, new, truth)
    classes = range(1, int(truth.max()) + 1)
    return {k: 2 * np.sum((found == k) & (truth == k)) / (np.sum(found == k) + np.sum(truth == k)) for k in classes}


def numbers(scored, folder):
    """Return the numbers of the classes that are scored."""
    names = [each.removeprefix("dice_") for each in scored if each != "dice"]
    labels = load_program(folder / "last.ckpt").card.labels
    return [each.value for each in labels if each.name in names or not names]
