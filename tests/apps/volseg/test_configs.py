"""Every config of the app builds its whole network, and takes from its base what it means to."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from foveal.core.catalogue import configs
from foveal.core.cli import main
from foveal.tests.configs.recipes.volseg import small, write
from foveal.tests.fixtures.datasets_2d import merged
from foveal.tests.fixtures.small_runs import class_of, defaults_of, shipped, whole_network

CONFIGS = sorted(name for name in configs() if name.startswith("configs/volseg/"))
OWN = [name for name in CONFIGS if "_folder" in name]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


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
        defaults = defaults_of(mine)
        for name, value in theirs["init_args"].items():
            expected = mine.get("init_args", {}).get(name, defaults[name])
            assert value == (list(expected) if isinstance(expected, tuple) else expected), name


def test_weights_from_volumes_of_ones_own_have_no_licence_of_others(capsys):
    for config in OWN:
        assert not shipped("volseg", config, capsys)["model"]["init_args"]["licence"]


def test_predictions_are_named_as_their_cases():
    config = "configs/volseg/quickstart_dformer.yaml"
    content = merged(config)
    files = write(content)
    assert main(["volseg", "predict", "--config", config, *small(content)]) == 0
    (path,) = Path("runs").glob("*/*/predictions/*")
    assert path.name == "validation_validation.npy"
    assert np.load(path).shape == nibabel.load(files["validation"][0]).shape[::-1]
