"""A tiny network with its card, and images of many sizes around its attention window."""

import pytest
import torch

from foveal.apps.superres.models.dlgsanet import DLGSANet
from foveal.core.weights.card import Card
from foveal.core.weights.load import load_model, save_weights

WINDOW = 8
SIZES = [(1, 24, 21), (2, 9, 31), (1, 5, 6), (2, 17, 8), (1, 8, 8), (1, 1, 7), (1, 9, 1), (3, 2, 2), (1, 1, 1)]
"""Batch, height, width: several windows, one window, less than one, a line, a pixel."""


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    arguments = {"scale": 2, "dim": 12, "groups": 1, "pairs": 1, "heads": 3, "kernel": 3, "tlc_window": WINDOW}
    network = {"class_path": "foveal.apps.superres.models.dlgsanet.DLGSANet", "init_args": arguments}
    torch.manual_seed(0)
    net = DLGSANet(**arguments)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(net, Card(name="tiny", app="superres", network=network, scale=2, tile=27, overlap=4), path)
    return path


@pytest.fixture(scope="session")
def net(weights):
    return load_model(weights).requires_grad_(False)


@pytest.fixture(scope="session")
def assert_same(net):
    """Assert that a program and the network give the same at every size."""

    def check(program) -> None:
        generator = torch.Generator().manual_seed(1)
        for batch, height, width in SIZES:
            image = torch.rand(batch, 3, height, width, generator=generator)
            with torch.inference_mode():
                found, expected = program(image), net(image)
            assert found.shape == expected.shape
            error = (found - expected).norm() / expected.norm()
            assert error < 1e-5, f"{error} at {batch, height, width}"

    return check
