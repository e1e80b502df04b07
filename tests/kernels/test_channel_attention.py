import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.kernels.channel_attention import channel_scores, mix_channels


def channel_attention(q, k, v, temperature):
    """With the ReLU for what makes weights of the scores."""
    return mix_channels(torch.relu(channel_scores(q, k, temperature)), v)


def brute_force(q, k, v, temperature):
    """The equation for one sample as loops: q, k, v (L, C) and temperature (heads,) -> (L, C)."""
    length, channels = q.shape
    width = channels // len(temperature)
    y = np.zeros((length, channels))
    for i, j in np.ndindex(channels, channels):
        if i // width == j // width:
            norms = max(np.linalg.norm(q[:, i]), 1e-12) * max(np.linalg.norm(k[:, j]), 1e-12)
            y[:, i] += max(temperature[i // width] * (q[:, i] @ k[:, j]) / norms, 0) * v[:, j]
    return y


def operands(channels, heads, length, count=2):
    generator = torch.Generator().manual_seed(length)
    q, k, v = (torch.randn(count, length, channels, generator=generator, dtype=torch.float64) for _ in range(3))
    return q, k, v, torch.randn(heads, 1, 1, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("channels", "heads", "length"), [(6, 2, 5), (12, 3, 63), (4, 4, 1), (8, 1, 17)])
def test_it_is_the_equation(channels, heads, length):
    q, k, v, temperature = operands(channels, heads, length)
    expected = np.stack(
        [brute_force(*(t.numpy() for t in qkv), temperature.flatten().numpy()) for qkv in zip(q, k, v, strict=True)]
    )
    result = channel_attention(q, k, v, temperature)
    assert np.linalg.norm(result.numpy() - expected) <= 1e-14 * np.linalg.norm(expected)


def test_gradients_are_those_of_finite_differences():
    inputs = tuple(tensor.requires_grad_() for tensor in operands(6, 2, 7))
    assert torch.autograd.gradcheck(channel_attention, inputs, fast_mode=True)


def test_channels_that_are_zero_everywhere_give_finite_gradients():
    q, k, v, temperature = operands(6, 2, 7)
    q[..., 1], k[..., 4] = 0, 0
    inputs = [tensor.requires_grad_() for tensor in (q, k, v, temperature)]
    y = channel_attention(*inputs)
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(grad).all() for grad in torch.autograd.grad(y.square().sum(), inputs))


def test_leading_axes_and_strides_do_not_matter():
    q, k, v, temperature = operands(6, 2, 7, count=4)
    expected = channel_attention(q, k, v, temperature)
    grouped = channel_attention(*(t.unflatten(0, (2, 2)) for t in (q, k, v)), temperature)
    strided = channel_attention(*(t.mT.contiguous().mT for t in (q, k, v)), temperature)
    assert torch.allclose(grouped.flatten(0, 1), expected, rtol=1e-13, atol=1e-13)
    assert torch.allclose(strided, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_and_holds_the_sums_of_many_positions(dtype):
    q, k, v, temperature = operands(6, 2, 20_000, count=1)
    q, k = 3 + q, 3 + k  # products that sum to 180,000
    half = [tensor.to(dtype) for tensor in (q, k, v, temperature.abs())]
    expected = channel_attention(*(tensor.double() for tensor in half))
    result = channel_attention(*half)
    assert result.dtype == dtype
    assert (result.double() - expected).norm() < 1e-2 * expected.norm()


def test_half_precision_stays_finite_where_channels_are_zero():
    q = torch.zeros(1, 5, 6, dtype=torch.float16)
    assert (channel_attention(q, q, q + 1, torch.ones(2, 1, 1)) == 0).all()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripting_gives_the_same():
    class Module(torch.nn.Module):
        def forward(self, q, k, v, temperature):
            return channel_attention(q, k, v, temperature)

    inputs = operands(6, 2, 7)
    assert torch.equal(torch.jit.script(Module())(*inputs), channel_attention(*inputs))


@pytest.mark.parametrize(("channels", "heads"), [(12, 3), (120, 5)])
def test_scores_and_mixing_are_those_of_normalised_copies_of_each_head(channels, heads):
    q, k, v, temperature = operands(channels, heads, 9)
    scores = channel_scores(q, k, temperature)
    normalised = [F.normalize(t.unflatten(-1, (heads, -1)), dim=1) for t in (q, k)]
    expected = torch.einsum("blhi,blhj->bhij", *normalised) * temperature
    torch.testing.assert_close(scores, expected, rtol=1e-12, atol=1e-13)
    weights = scores.softmax(-1)
    mixed = torch.einsum("bhij,blhj->blhi", weights, v.unflatten(-1, (heads, -1))).flatten(2)
    torch.testing.assert_close(mix_channels(weights, v), mixed, rtol=1e-12, atol=1e-13)
