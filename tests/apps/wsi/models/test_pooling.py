import pytest
import torch

from foveal.apps.wsi.models.pooling import PoolingClassifier

POOLINGS = pytest.mark.parametrize("pooling", ["mean", "max"])


def small(pooling):
    torch.manual_seed(0)
    return PoolingClassifier(3, 12, 16, pooling).eval()


@POOLINGS
def test_it_is_what_it_says(pooling):
    net, bag = small(pooling), torch.randn(1, 9, 12)
    inside = (bag[0] @ net.reduce.weight.t()).clamp(min=0)
    pooled = inside.sum(0) / 9 if pooling == "mean" else torch.stack([column.max() for column in inside.t()])
    assert torch.allclose(net(bag), (net.head.weight @ pooled + net.head.bias)[None], atol=1e-6)
    assert (net.in_channels, net.num_classes) == (12, 3)


@POOLINGS
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_programs_give_the_same_for_other_bags(pooling):
    net = small(pooling)
    bag = torch.randn(1, 9, 12)
    exported = torch.export.export(net, (bag,), dynamic_shapes=({1: torch.export.Dim("patches")},)).module()
    for program in (torch.jit.script(net), exported):
        for patches in (1, 20):
            other = torch.randn(1, patches, 12)
            assert torch.allclose(program(other), net(other), atol=1e-6)


@POOLINGS
def test_gradients_reach_every_parameter(pooling):
    net = small(pooling).train()
    net(torch.randn(1, 9, 12)).square().sum().backward()
    assert all(parameter.grad.any() for parameter in net.parameters())


def test_several_bags_and_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="one bag"):
        small("mean")(torch.randn(2, 9, 12))
    with pytest.raises(ValueError, match="at least 1"):
        PoolingClassifier(0)
    with pytest.raises(ValueError, match="mean or max"):
        PoolingClassifier(pooling="median")
