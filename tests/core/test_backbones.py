import pytest
import torch

from foveal.core.backbones import check_name, feature_network, open_residual_branches
from foveal.core.errors import UserError


def test_maps_are_those_of_the_coarsest_strides():
    net = feature_network("resnet10t", 2, (8, 16, 32)).eval()
    maps = net(torch.rand(1, 2, 64, 96))
    assert [tuple(each.shape[2:]) for each in maps] == [(8, 12), (4, 6), (2, 3)]
    assert [each.shape[1] for each in maps] == net.feature_info.channels()


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "resnet10t"])
def test_networks_without_such_maps_are_refused_in_one_line(name):
    with torch.device("meta"), pytest.raises(UserError, match="take a ResNet of timm") as caught:
        feature_network(name, 3, (4, 8, 16))
    assert "\n" not in str(caught.value)


def test_a_near_name_is_suggested():
    with pytest.raises(UserError, match="timm has no network 'resnet19'; did you mean 'resnet18'"):
        check_name("resnet19")
    check_name("resnet18.a1_in1k")


def test_residual_branches_are_open():
    net = feature_network("resnet10t", 3, (32,))
    norms = [each for each in net.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    assert not all(each.weight.all() for each in norms)
    open_residual_branches(net)
    assert all((each.weight == 1).all() for each in norms)
