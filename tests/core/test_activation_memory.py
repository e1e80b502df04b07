import pytest
import torch
from torch import nn

from foveal.core.activation_memory import activation_bytes


def test_what_layers_keep_is_counted_once_and_weights_are_not():
    net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 2, 1))
    voxels = 8 * 6 * 4
    assert activation_bytes(net, (1, 1, 8, 6, 4)) == 4 * voxels * (1 + 4)  # the input, and what enters the last layer
    assert activation_bytes(net, (3, 1, 8, 6, 4)) == 3 * 4 * voxels * (1 + 4)


def test_the_network_stays_as_it_is():
    net = nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2), nn.Dropout()).eval()
    before = {name: each.clone() for name, each in net.state_dict().items()}
    activation_bytes(net, (2, 1, 4, 4, 4))
    assert not net.training
    assert all(torch.equal(each, before[name]) for name, each in net.state_dict().items())


def test_a_size_that_is_refused_is_told():
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        activation_bytes(nn.InstanceNorm3d(2), (1, 2, 1, 1, 1))
