"""Every config of the app builds the whole network that its name says."""

from pathlib import Path

import pytest

from foveal.core.catalogue import configs
from foveal.tests.fixtures.small_runs import shipped, whole_network

CONFIGS = sorted(name for name in configs() if name.startswith("configs/superres/") and "window" not in name)
MILLIONS = {"dlgsanet_full": 4.7, "dlgsanet_light": 0.75, "dlgsanet_tiny": 0.57, "demo": 0.57}
"""Weights of the published variants, of which the demonstration is the smallest."""


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_builds_its_whole_network(config, capsys):
    content, name = shipped("superres", config, capsys), Path(config).stem
    net = whole_network(content)
    assert name.endswith(f"_x{net.scale}") or "_x" not in name
    weights = sum(each.numel() for each in net.parameters()) / 1e6
    assert all(weights == pytest.approx(each, rel=0.03) for start, each in MILLIONS.items() if name.startswith(start))
    schedule = content["model"]["init_args"]["scheduler"]["init_args"]
    assert schedule.get("total_steps") in (None, content["trainer"]["max_steps"])
