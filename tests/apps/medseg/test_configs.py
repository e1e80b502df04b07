"""Every config of the app builds its whole network, and takes from its base what it means to."""

import pytest

from foveal.core.catalogue import configs
from foveal.tests.fixtures.datasets_2d import merged
from foveal.tests.fixtures.small_runs import defaults_of, shipped, whole_network

CONFIGS = sorted(name for name in configs() if name.startswith("configs/medseg/"))


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_builds_its_whole_network(config, capsys):
    content = shipped("medseg", config, capsys)
    net, model = whole_network(content), content["model"]["init_args"]
    size = content["data"]["init_args"]["size"]
    sides = [*(size if isinstance(size, list) else [size]), *(model.get("frame") or ())]
    assert all(side % net.size_multiple == 0 for side in sides)
    if model["scheduler"]:
        assert model["scheduler"]["init_args"]["total_steps"] == content["trainer"]["max_steps"]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_takes_nothing_from_the_data_of_the_one_it_builds_on(config, capsys):
    own, read = (each["data"]["init_args"] for each in (merged(config), shipped("medseg", config, capsys)))
    for part in ("train", "validation"):
        for given, whole in zip(own.get(part) or [], read[part] or [], strict=True):
            defaults = defaults_of(given)
            for name, value in whole["init_args"].items():
                expected = given["init_args"].get(name, defaults[name])
                assert value == (list(expected) if isinstance(expected, tuple) else expected), (part, name)


def test_weights_from_images_of_ones_own_have_no_licence_of_others(capsys):
    assert not shipped("medseg", "configs/medseg/msga_folder.yaml", capsys)["model"]["init_args"]["licence"]
