"""Every config of the app builds its whole network."""

import pytest

from foveal.core.catalogue import configs
from foveal.tests.fixtures.small_runs import shipped, whole_network

CONFIGS = sorted(name for name in configs() if name.startswith("configs/polyp/"))


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_builds_its_whole_network(config, capsys):
    content = shipped("polyp", config, capsys)
    net = whole_network(content)
    sides = [*content["data"]["init_args"]["size"], *(content["model"]["init_args"]["frame"] or ())]
    assert all(side % net.size_multiple == 0 for side in sides)
    if content["model"]["init_args"]["scheduler"]:
        assert content["model"]["init_args"]["scheduler"]["init_args"]["total_steps"] == content["trainer"]["max_steps"]
