import pytest
import torch
import torch.nn.functional as F

from foveal.apps.cloudremoval.unet import Injection, SeparableLayer, TransformerLayer, UBlock, binned


@pytest.mark.parametrize(("height", "width"), [(3, 4), (5, 7), (1, 1), (2, 11)])
def test_bins_are_those_of_adaptive_pooling(height, width):
    x = torch.randn(2, 3, 37, 50, dtype=torch.float64)
    assert torch.allclose(binned(x, height, width), F.adaptive_avg_pool2d(x, (height, width)), rtol=1e-12)


@pytest.mark.parametrize(("stride", "size"), [(1, (9, 14)), (2, (5, 7))])
def test_separable_layer_rounds_sizes_up_and_keeps_what_it_can(stride, size):
    layer = SeparableLayer(6, 6, 3, stride)
    x = torch.randn(2, 6, 9, 14)
    assert layer(x).shape == (2, 6, *size)
    layer.pointwise.weight.data.zero_()
    assert torch.equal(layer(x), x if stride == 1 else torch.zeros(2, 6, *size))


def test_separable_layer_has_no_activation():
    layer = SeparableLayer(4, 8, 1)
    x = torch.randn(1, 4, 6, 6)
    assert torch.allclose(layer(-x), -layer(x), atol=1e-6)
    assert layer.spatial.weight.shape == (4, 1, 1, 1)


def test_layers_give_the_same_in_training_and_evaluation():
    x, whole = 5 + torch.randn(2, 4, 9, 7).double(), torch.randn(2, 4, 3, 2).double()
    for layer in (SeparableLayer(4, 4, 1), SeparableLayer(4, 4, 3), SeparableLayer(4, 4, 3, stride=2)):
        layer.double()
        assert torch.allclose(layer.train()(x), layer.eval()(x), rtol=1e-9)
    for kernel in (1, 5):
        injection = Injection(4, kernel).double()
        assert torch.allclose(injection.train()(x, whole), injection.eval()(x, whole), rtol=1e-9)


def test_injection_gates_and_adds_the_nearest_of_the_whole():
    injection = Injection(2, 1).double()
    local, whole = torch.randn(1, 2, 7, 5).double(), torch.randn(1, 2, 3, 2).double()

    def standard(x):
        return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()

    def convolved(conv, x):
        return standard(x * conv.weight.view(1, 2, 1, 1))

    rows, columns = torch.arange(7) * 3 // 7, torch.arange(5) * 2 // 5
    gate, added = (
        each[:, :, rows][..., columns] for each in map(convolved, (injection.gate, injection.embed), [whole] * 2)
    )
    expected = convolved(injection.local, local) * gate.sigmoid() + added
    assert torch.allclose(injection(local, whole), expected, atol=1e-10)


def test_transformer_layer_starts_near_the_identity_and_drops_whole_samples_in_training():
    torch.manual_seed(0)
    layer = TransformerLayer(4, drop_path=0.5)
    x = torch.randn(64, 4, 5, 5)
    assert torch.allclose(layer.eval()(x), x, atol=1e-3)
    layer.attention_scale.data.fill_(1)
    layer.feed_forward_scale.data.zero_()
    updates = layer.eval()(x) - x
    ratio = (layer.train()(x) - x).flatten(1).norm(dim=1) / updates.flatten(1).norm(dim=1)
    dropped = ratio < 1e-6
    assert 10 < dropped.sum() < 54
    assert torch.allclose(ratio[~dropped], torch.tensor(2.0), rtol=1e-3)


def test_u_block_adds_the_sum_of_its_parts():
    block = UBlock(12, 4).eval()
    block.out.weight.data.zero_()
    x = torch.randn(2, 12, 20, 17)
    assert torch.allclose(block(x), x[:, :4] + x[:, 4:8] + x[:, 8:])


def test_u_block_starts_by_the_fan_out():
    torch.manual_seed(0)
    block = UBlock(32, 32)
    assert block.scales[1].spatial.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    assert block.mixer.attention.surroundings.weight.std().item() == pytest.approx((2 / 121) ** 0.5, rel=0.03)
    assert not block.mixer.attention.surroundings.bias.any()
