import pytest
import torch

from foveal.apps.cloudremoval.discriminator import PatchDiscriminator


@pytest.mark.parametrize(("in_channels", "published"), [(16, 2_844_609), (15, 2_843_585)])
def test_number_of_parameters_is_the_published_one(in_channels, published):
    with torch.device("meta"):
        net = PatchDiscriminator(in_channels)
        assert net(torch.empty(2, in_channels, 256, 256)).shape == (2, 1, 7, 7)
    assert sum(each.numel() for each in net.parameters()) == published


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    net = PatchDiscriminator(5, (4, 6))
    net(torch.randn(2, 5, 32, 24)).square().sum().backward()
    assert all(each.grad.any() for each in net.parameters())


def test_no_widths_are_refused():
    with pytest.raises(ValueError, match="at least one width"):
        PatchDiscriminator(5, ())
