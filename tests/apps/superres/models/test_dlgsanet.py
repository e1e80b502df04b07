import pytest
import torch

from foveal.apps.superres.models.dlgsanet import DLGSANet

TINY, LIGHT, FULL = (
    {"dim": 48, "groups": 3, "pairs": 3},
    {"dim": 48, "groups": 4, "pairs": 3},
    {"dim": 90, "groups": 6, "pairs": 4},
)
SMALL = {"dim": 12, "groups": 1, "pairs": 1, "heads": 2, "kernel": 3}
PARAMETERS = [
    (TINY, 2, 565_710),
    (TINY, 3, 572_205),
    (TINY, 4, 581_298),
    (LIGHT, 2, 745_188),
    (LIGHT, 3, 751_683),
    (LIGHT, 4, 760_776),
    (FULL, 2, 4_733_724),
    (FULL, 3, 4_745_889),
    (FULL, 4, 4_762_920),
]


@pytest.mark.parametrize(("variant", "scale", "count"), PARAMETERS)
def test_the_published_variants_have_the_published_number_of_parameters(variant, scale, count):
    with torch.device("meta"):
        net = DLGSANet(scale, **variant)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (7, 5), (13, 9)])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_any_size_is_enlarged(height, width, scale):
    net = DLGSANet(scale, **SMALL, tlc_window=6).eval()
    with torch.inference_mode():
        assert net(torch.rand(2, 3, height, width)).shape == (2, 3, scale * height, scale * width)


def test_gradients_at_batch_size_one_are_those_of_finite_differences():
    torch.manual_seed(0)
    net = DLGSANet(2, **SMALL).double()
    x = torch.rand(1, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,), fast_mode=True)


def test_gradients_of_one_image_are_the_same_alone_and_in_a_batch():
    torch.manual_seed(0)
    net = DLGSANet(2, **SMALL).double()
    images = torch.rand(2, 3, 6, 5, dtype=torch.float64)
    together = torch.autograd.grad(net(images).square().sum(), list(net.parameters()))
    alone = [torch.autograd.grad(net(image[None]).square().sum(), list(net.parameters())) for image in images]
    for whole, one, other in zip(together, *alone, strict=True):
        assert torch.allclose(whole, one + other, rtol=1e-9, atol=1e-12)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    net = DLGSANet(2, **SMALL)
    net(torch.rand(1, 3, 6, 7)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_windows_are_used_in_evaluation_only_and_can_be_turned_off():
    torch.manual_seed(0)
    net = DLGSANet(2, **SMALL, tlc_window=4)
    whole = DLGSANet(2, **SMALL, tlc=False)
    whole.load_state_dict(net.state_dict())
    x = torch.rand(1, 3, 9, 8)
    assert torch.equal(net(x), whole(x))
    assert not torch.allclose(net.eval()(x), whole.eval()(x))


@pytest.mark.parametrize("wrong", [{"heads": 5}, {"channels_per_kernel": 7}, {"kernel": 4}])
def test_impossible_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must (be|divide)"):
        DLGSANet(2, **(SMALL | wrong))
