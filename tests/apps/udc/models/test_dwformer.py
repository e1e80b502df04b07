import pytest
import torch

from foveal.apps.udc.models.dwformer import DWFormer, NormedPointwise

SMALL = {"widths": (4, 8, 12, 8, 4), "depths": (1, 1, 2, 1, 1)}


@pytest.fixture
def small():
    torch.manual_seed(0)
    return DWFormer(**SMALL).eval()


def picture(height=16, width=20, batch=1):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("pooling", "count"), [("sum", 1_447_047 - 36 - 8 * 24 - 8 * 48 - 8 * 96 - 6 * 48 - 6 * 24)])
def test_the_published_network_has_the_published_number_of_parameters_but_for_those_without_effect(pooling, count):
    with torch.device("meta"):
        net = DWFormer(pooling=pooling)
        drawn = DWFormer()
    assert sum(each.numel() for each in net.parameters()) == count
    assert sum(each.numel() for each in drawn.parameters()) == 1_447_047


def test_the_size_stays_and_the_smallest_size_is_enough(small):
    with torch.inference_mode():
        assert small(picture(12, 12)).shape == (1, 3, 12, 12)
        assert small(picture(16, 36, 2)).shape == (2, 3, 16, 36)


def test_fixed_statistics_fold_into_the_convolution():
    torch.manual_seed(0)
    layer = NormedPointwise(4, 6)
    layer(torch.randn(8, 4, 5, 5))  # moves the statistics
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 2)
        layer.norm.bias.normal_()
    layer.eval()
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(layer(x), layer.conv(layer.norm(x)))


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    net = DWFormer(**SMALL).train()
    net(picture(batch=2)).square().sum().backward()
    assert [name for name, each in net.named_parameters() if each.grad is None or not each.grad.any()] == []


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_the_picture_are_those_of_finite_differences(training, batch):
    torch.manual_seed(0)
    net = DWFormer(**SMALL).double().train(training)
    x = picture(12, 12, batch).double()
    step = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def value(shift):
        return net(x + shift * step).sin().sum()

    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(point).sin().sum(), point)
    with torch.no_grad():
        numeric = (value(1e-6) - value(-1e-6)) / 2e-6
    torch.testing.assert_close((gradient * step).sum(), numeric, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", ["softmax", "sum"])
def test_scripted_and_exported_networks_take_other_sizes(pooling):
    torch.manual_seed(0)
    net = DWFormer(**SMALL, pooling=pooling).eval()
    sizes = {0: torch.export.Dim("n"), 2: 4 * torch.export.Dim("h", min=3), 3: 4 * torch.export.Dim("w", min=3)}
    exported = torch.export.export(net, (picture(16, 20, 2),), dynamic_shapes=(sizes,)).module()
    with torch.inference_mode():
        for program in (torch.jit.script(net), exported):
            torch.testing.assert_close(program(picture(24, 12)), net(picture(24, 12)))


def test_impossible_stages_are_refused():
    with pytest.raises(ValueError, match="five stages are needed"):
        DWFormer(widths=(4, 8, 12, 8, 6))
