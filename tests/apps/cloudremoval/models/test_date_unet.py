import pytest
import torch

from foveal.apps.cloudremoval.models.date_unet import DateUNet
from foveal.apps.cloudremoval.models.pmaa import PMAA

WIDTHS = (4, 4, 4, 4, 4, 4)


def parameters(net):
    return sum(each.numel() for each in net.parameters())


def test_it_has_as_many_parameters_as_pmaa():
    assert parameters(DateUNet()) == pytest.approx(parameters(PMAA()), rel=0.01)
    narrow = DateUNet(widths=(24, 24, 48, 88, 164, 24))
    assert parameters(narrow) == pytest.approx(parameters(PMAA(dim=16)), rel=0.01)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (64, 32)])
def test_every_date_has_a_say_in_an_image_within_range(height, width):
    torch.manual_seed(0)
    net = DateUNet(dates=2, bands=3, num_outputs=2, widths=WIDTHS).eval()
    x = torch.randn(2, 6, height, width, requires_grad=True)
    image = net(x)
    assert image.shape == (2, 2, height, width)
    assert image.abs().max() <= 1
    image.square().sum().backward()
    assert (x.grad.abs().amax(dim=(0, 2, 3)) > 0).all()


def test_gradients_reach_every_parameter():
    net = DateUNet(widths=WIDTHS)
    net(torch.randn(2, 12, 32, 32)).square().sum().backward()
    assert all(each.grad is not None for each in net.parameters())
