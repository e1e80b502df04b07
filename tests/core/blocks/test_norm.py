import itertools

import pytest
import torch

from foveal.core.blocks.norm import (
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm2d,
    use_own_norms,
)

NORMS = [(BatchNorm2d, (3, 5)), (BatchNorm3d, (2, 3, 5)), (InstanceNorm2d, (3, 5)), (InstanceNorm3d, (2, 3, 5))]
CHANNELS = 6


def written_out(norm, x, training):
    """The formula of the norm in elementary operations, of which the gradients are right for every layout."""
    instance = isinstance(norm, (InstanceNorm2d, InstanceNorm3d))
    axes = [axis for axis in range(x.ndim) if axis > 1 or (axis == 0 and not instance)]
    shape = (1, -1, *(1,) * (x.ndim - 2))
    mean = x.mean(axes, keepdim=True) if instance or training else norm.running_mean.view(shape)
    variance = (x - x.mean(axes, keepdim=True)).square().mean(axes, keepdim=True)
    variance = variance if instance or training else norm.running_var.view(shape)
    return (x - mean) / torch.sqrt(variance + norm.eps) * norm.weight.view(shape) + norm.bias.view(shape)


def to_tokens(y):
    """Leave as tokens: (N, C, *spatial) -> (N, L, C)."""
    return y.flatten(2).transpose(1, 2).contiguous()


def to_tokens_last(y):
    """Leave by moving the channels last."""
    return y.movedim(1, -1).contiguous()


def as_map(y):
    """Stay a map."""
    return y


def channels_last(x):
    """The map with its channels last in memory, all strides as PyTorch gives them."""
    return x.clone(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


def of_tokens(tokens, extent):
    """Enter from tokens, uncopied: (N, L, C) -> (N, C, *spatial)."""
    return tokens.mT.unflatten(2, extent)


def gradients(norm, apply, x, leave, entering):
    """Gradients of input, weight and bias where a map comes as it is, with its channels last, or from tokens."""
    start = (x.flatten(2).mT.contiguous() if entering is of_tokens else x.clone()).detach().requires_grad_()
    y = leave(apply(of_tokens(start, x.shape[2:]) if entering is of_tokens else entering(start)))
    probe = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((y * probe).sum(), (start, norm.weight, norm.bias))


@pytest.mark.parametrize(("kind", "extent"), NORMS)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_the_formula_for_every_layout(kind, extent, batch, training):
    torch.manual_seed(0)
    norm = kind(CHANNELS, affine=True).double().train(training)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(batch, CHANNELS, *extent, dtype=torch.float64)
    for leave, entering in itertools.product(
        (to_tokens, to_tokens_last, as_map, channels_last), (as_map, channels_last, of_tokens)
    ):
        ours = gradients(norm, norm, x, leave, entering)
        expected = gradients(norm, lambda map_: written_out(norm, map_, training), x, leave, entering)
        for one, other in zip(ours, expected, strict=True):
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kind", "extent"), NORMS)
def test_values_and_parameters_are_those_of_pytorch(kind, extent):
    torch.manual_seed(0)
    ours, theirs = kind(CHANNELS, affine=True), getattr(torch.nn, kind.__name__)(CHANNELS, affine=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(2, CHANNELS, *extent)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize(("kind", "extent"), NORMS[:2])
@pytest.mark.parametrize("batch", [1, 2])
def test_batch_norm_keeps_the_order_of_a_map_and_of_its_gradient(kind, extent, batch):
    norm = kind(CHANNELS)
    x = torch.randn(batch, CHANNELS, *extent, requires_grad=True)
    last = channels_last(x)
    y = norm(last)
    (grad,) = torch.autograd.grad(y.clone(memory_format=torch.contiguous_format).square().sum(), last)
    assert last.stride() == y.stride() == grad.stride() != x.stride()
    with torch.no_grad():
        assert norm(last).stride() == last.stride()
        assert norm(x).stride() == x.stride()


@pytest.mark.parametrize(("kind", "extent"), NORMS)
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripted_and_exported_programs_give_the_same(kind, extent):
    norm = kind(CHANNELS, affine=True).eval()
    x = torch.randn(2, CHANNELS, *extent)
    assert torch.equal(torch.jit.script(norm)(x), norm(x))
    exported = torch.export.export(norm, (x,))
    assert torch.equal(exported.module()(x), norm(x))
    assert all("Ordered" not in str(node.target) for node in exported.graph.nodes)


@pytest.mark.parametrize(("kind", "extent"), NORMS)
@pytest.mark.parametrize("batch", [1, 2])
def test_result_may_be_changed_in_place(kind, extent, batch):
    torch.manual_seed(0)
    norm = kind(CHANNELS, affine=True).double()
    x = torch.randn(batch, CHANNELS, *extent, dtype=torch.float64, requires_grad=True)
    found, expected = (
        torch.autograd.grad(to_tokens(form()).square().sum(), (x, norm.weight, norm.bias))
        for form in (lambda: norm(x).add_(x).relu_(), lambda: (written_out(norm, x, True) + x).relu())
    )
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("batch", [1, 2])
def test_layer_norm_is_over_the_channels_of_each_position(batch):
    torch.manual_seed(0)
    norm = LayerNorm2d(CHANNELS).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(batch, CHANNELS, 3, 5, dtype=torch.float64, requires_grad=True)
    mean, variance = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
    scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
    assert torch.allclose(norm(x), (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda map_: to_tokens(norm(map_)), (x,))


def test_norms_of_another_library_become_those_of_this_file_with_their_parameters():
    norm = torch.nn.BatchNorm2d(CHANNELS)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, CHANNELS, 1), norm)
    use_own_norms(network)
    assert type(network[1]) is BatchNorm2d
    assert network[1] is norm
    assert list(network.state_dict()) == ["0.weight", "0.bias", *(f"1.{name}" for name in norm.state_dict())]
