import numpy as np
import pytest
import torch

from foveal.kernels.position_attention import position_attention, reference

# (batch, positions, width of queries and keys, width of values); 1200 positions are several lots of queries
SIZES = [(2, 7, 2, 5), (1, 1, 1, 1), (1, 63, 3, 3), (2, 33, 7, 5), (2, 1200, 2, 6), (1, 3 * reference.QUERIES, 1, 3)]


def operands(batch, positions, width, values, dtype=torch.float64, grad=False):
    generator = torch.Generator().manual_seed(positions)
    shapes = [(batch, positions, width)] * 2 + [(batch, positions, values)]
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(grad) for s in shapes]


def brute_force(q, k, v):
    """The equation as loops over NumPy arrays."""
    y = np.empty_like(v)
    for b, n in np.ndindex(q.shape[:2]):
        weights = np.exp(k[b] @ q[b, n] - (k[b] @ q[b, n]).max())
        y[b, n] = weights @ v[b] / weights.sum()
    return y


def relative(value, expected):
    return float((value.detach().double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_equation(size):
    tensors = operands(*size)
    expected = torch.from_numpy(brute_force(*(each.numpy() for each in tensors)))
    assert relative(position_attention(*tensors), expected) < 1e-14
    assert relative(position_attention(*(each.float() for each in tensors)), expected) < 1e-6


@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_those_of_the_map_written_out(size):
    tensors = operands(*size, grad=True)
    q, k, v = tensors
    probe = torch.randn(v.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad(torch.softmax(q @ k.mT, -1) @ v, tensors, probe)
    found = torch.autograd.grad(position_attention(*tensors), tensors, probe)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_strides_do_not_matter():
    q, k, v = operands(2, 1200, 2, 6)
    expected = position_attention(q, k, v)
    turned = [each.mT.contiguous().mT for each in (q, k, v)]
    torch.testing.assert_close(position_attention(*turned), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("positions", [30, 1200])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype, positions):
    tensors = operands(1, positions, 4, 8, dtype)
    expected = torch.from_numpy(brute_force(*(each.double().numpy() for each in tensors)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = position_attention(*tensors)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected.to(dtype), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("size", [(2, 1200, 2, 6), (2, 300, 6, 2)])
def test_a_scripted_and_a_traced_form_agree(size):
    tensors = operands(*size, torch.float32)
    expected = position_attention(*tensors)
    for program in (torch.jit.script(position_attention), torch.jit.trace(position_attention, tensors)):
        torch.testing.assert_close(program(*tensors), expected)
