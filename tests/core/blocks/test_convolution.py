import pytest
import torch

from foveal.core.blocks.convolution import ConvNorm


@pytest.mark.parametrize(
    ("kernel", "dilation"), [(1, 1), (3, 1), (5, 1), (3, 7), ((1, 5), 1), ((7, 1), 1), ((1, 3), 2)]
)
def test_size_stays(kernel, dilation):
    assert ConvNorm(2, 3, kernel, dilation)(torch.randn(2, 2, 9, 11)).shape == (2, 3, 9, 11)


def test_convolution_has_no_bias_and_no_activation_follows():
    unit = ConvNorm(2, 3, 3)
    assert unit.conv.bias is None
    assert unit(torch.randn(2, 2, 9, 11)).min() < 0


def test_volumes_keep_their_size_too():
    unit = ConvNorm(2, 3, (3, 1, 5), dilation=2, spatial_dims=3)
    assert unit(torch.randn(2, 2, 4, 5, 6)).shape == (2, 3, 4, 5, 6)
