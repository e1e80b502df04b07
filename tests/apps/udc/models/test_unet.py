import pytest
import torch

from foveal.apps.udc.models.dwformer import DWFormer
from foveal.apps.udc.models.unet import UNet

SMALL = {"widths": (4, 4, 4, 4, 4, 4)}


def count(net):
    return sum(each.numel() for each in net.parameters())


def test_it_has_as_many_parameters_as_dwformer():
    with torch.device("meta"):
        assert abs(count(UNet()) / count(DWFormer()) - 1) < 0.002


@pytest.mark.parametrize("batch", [1, 2])
def test_it_trains_at_the_smallest_size(batch):
    torch.manual_seed(0)
    net = UNet(**SMALL)
    side = net.smallest_size
    estimate = net(torch.rand(batch, 3, side, side))
    assert estimate.shape == (batch, 3, side, side)
    estimate.square().sum().backward()
    assert all(each.grad is not None for each in net.parameters())


def test_without_its_last_layer_it_is_the_identity():
    net = UNet(**SMALL).eval()
    torch.nn.init.zeros_(net.net.final_conv.weight)
    torch.nn.init.zeros_(net.net.final_conv.bias)
    x = torch.rand(1, 3, 32, 48)
    assert torch.equal(net(x), x)
