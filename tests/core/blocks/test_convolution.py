import pytest
import torch
from torch import nn

from foveal.core.blocks.convolution import ConvNorm, normed
from foveal.core.blocks.norm import BatchNorm2d, BatchNorm3d


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


def test_a_norm_of_the_convolutions_width_and_an_activation_follow_it():
    kinds = [nn.Conv2d(2, 3, 1), nn.ConvTranspose2d(2, 3, 2), nn.Conv3d(2, 3, 1)]
    units = [normed(kinds[0]), normed(kinds[1], nn.PReLU()), normed(kinds[2])]
    assert [[type(each) for each in unit[1:]] for unit in units] == [
        [BatchNorm2d, nn.ReLU],
        [BatchNorm2d, nn.PReLU],
        [BatchNorm3d, nn.ReLU],
    ]
    for kind, unit in zip(kinds, units, strict=True):
        assert unit[0] is kind
        assert unit[1].num_features == 3
