import pytest
import torch

from foveal.kernels.routed_attention import reference, routed_attention


def operands(batch=2, qk_dim=4, dim=4, dtype=torch.float64):
    """Two by three regions of four tokens each, in an order of their own."""
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(batch, 24, 2 * qk_dim + dim, generator=generator, dtype=dtype, requires_grad=True)
    tokens = torch.randperm(24, generator=generator).view(6, 4)
    routes = torch.stack([torch.randperm(6, generator=generator)[:3] for _ in range(batch * 6)])
    return qkv, tokens, routes.view(batch, 6, 3)


def by_mask(qkv, qk_dim, heads, tokens, routes):
    """Every token compared with every other, of which those not on the way are left out."""
    region = torch.empty(24, dtype=torch.long)
    region[tokens] = torch.arange(6)[:, None]
    seen = (region[None, None, :] == routes[:, region][..., None]).any(2)
    q, k, v = qkv.split([qk_dim, qk_dim, qkv.shape[2] - 2 * qk_dim], -1)
    mixed = []
    for q_h, k_h, v_h in zip(*(t.chunk(heads, -1) for t in (q, k, v)), strict=True):
        scores = q_h @ k_h.mT / q_h.shape[-1] ** 0.5
        mixed.append(scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v_h)
    return torch.cat(mixed, -1)


@pytest.mark.parametrize("form", [routed_attention, reference.routed_attention])
@pytest.mark.parametrize(("batch", "qk_dim"), [(1, 4), (2, 4), (2, 2)])
def test_values_and_gradients_are_those_of_masked_attention(form, batch, qk_dim):
    qkv, tokens, routes = operands(batch, qk_dim)
    found, expected = (f(qkv, qk_dim, 2, tokens, routes) for f in (form, by_mask))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    probe = torch.randn_like(expected)
    gradients = [torch.autograd.grad(y, qkv, probe)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-11)


def test_half_precision_keeps_its_type():
    qkv, tokens, routes = operands(dtype=torch.bfloat16)
    expected = routed_attention(qkv.double(), 4, 2, tokens, routes)
    found = routed_attention(qkv, 4, 2, tokens, routes)
    assert found.dtype == torch.bfloat16
    assert (found - expected).norm() < 1e-2 * expected.norm()
