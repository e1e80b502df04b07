import pytest
import torch
from torch import nn

from foveal.apps.volseg.models.swinunetr import SwinUNETR
from foveal.core.export import pt2, torchscript
from foveal.core.weights.card import Card

SMALL = {"num_classes": 3, "dim": 12, "depths": (2, 1, 1, 1), "heads": (1, 2, 4, 4)}
TILE = (32, 64, 32)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return SwinUNETR(**SMALL).eval()


def image(batch=1, channels=1):
    return torch.randn(batch, channels, *TILE, generator=torch.Generator().manual_seed(1))


def test_the_usual_network_has_as_many_parameters_as_monais():
    assert sum(each.numel() for each in SwinUNETR().parameters()) == 62_186_708


def test_attributes_and_channels():
    net = SwinUNETR(**SMALL, in_channels=2).eval()
    assert (net.num_classes, net.in_channels, net.size_multiple, net.fixed_tile) == (3, 2, 32, True)
    with torch.inference_mode():
        assert net(image(channels=2)).shape == (1, 3, *TILE)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_parameter(checkpointing):
    torch.manual_seed(0)
    net = SwinUNETR(**SMALL, drop_path=0.0, checkpointing=checkpointing)
    logits = net(image())
    (logits * torch.randn_like(logits)).sum().backward()
    assert [name for name, each in net.named_parameters() if each.grad is None] == []


def test_gradients_at_batch_size_one_are_those_of_norms_written_out(small, monkeypatch):
    x = image().requires_grad_()
    probe = torch.randn_like(small(x))
    (found,) = torch.autograd.grad(small(x), x, probe)
    monkeypatch.setattr(nn.InstanceNorm3d, "forward", written_out)
    (expected,) = torch.autograd.grad(small(x), x, probe)
    assert (found - expected).norm() < 1e-4 * expected.norm()


def written_out(norm, x):
    variance, mean = torch.var_mean(x, (2, 3, 4), correction=0, keepdim=True)
    return (x - mean) * (variance + norm.eps).rsqrt()


@pytest.mark.slow
@pytest.mark.parametrize("form", [torchscript, pt2])
def test_exported_program_gives_the_same_for_any_number_of_tiles(small, form, tmp_path):
    card = Card(
        name="swinunetr",
        app="volseg",
        network={"class_path": "none"},
        dimensions=3,
        channels=("CT",),
        size_multiple=32,
        fixed_tile=True,
        tile=(64, 64, 64),
        overlap=(32, 32, 32),
    )
    form.save(small, card, tmp_path / "program")
    program = form.load(tmp_path / "program", torch.device("cpu"))
    x = torch.randn(2, 1, 64, 64, 64, generator=torch.Generator().manual_seed(1))
    for tiles in (x, x[:1]):
        with torch.inference_mode():
            torch.testing.assert_close(program(tiles), small(tiles), rtol=1e-4, atol=1e-4)
