import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.nystrom import (
    NystromAttention,
    masked_nystrom_attention,
    nystrom_attention,
    pseudo_inverse,
)
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def operands(*shape):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("size", [(8,), (3, 3), (2, 3, 3)])
@pytest.mark.parametrize("kernel", [0, 3])
def test_it_is_the_formula_with_zeros_in_front(size, kernel):
    block = random_block(NystromAttention(6, 2, landmarks=4, head_dim=5, kernel=kernel))

    def formula(x):
        tokens = x.flatten(1, -2)
        missing = -tokens.shape[1] % 4
        tokens = F.pad(tokens, (0, 0, missing, 0))
        q, k, v = (t.unflatten(-1, (2, 5)).transpose(1, 2) for t in block.qkv(tokens).chunk(3, -1))
        q = q / 5**0.5
        q_means, k_means = (torch.stack([part.mean(2) for part in t.chunk(4, 2)], 2) for t in (q, k))
        inverse = by_hand((q_means @ k_means.mT).softmax(-1))
        y = (q @ k_means.mT).softmax(-1) @ inverse @ (q_means @ k.mT).softmax(-1) @ v
        if kernel:
            y = y + F.conv2d(v, block.local.weight, padding=(1, 0), groups=2)
        return block.proj(y.transpose(1, 2).flatten(2)[:, missing:]).view(x.shape)

    assert_is_formula(block, formula, random_map(2, *size, 6))


def by_hand(weights):
    one = torch.eye(weights.shape[-1], dtype=weights.dtype)
    z = weights.mT / (weights.abs().sum(-1).max() * weights.abs().sum(-2).max())
    for _ in range(6):
        az = weights @ z
        z = z @ (13 * one - az @ (15 * one - az @ (7 * one - az))) / 4
    return z


def test_pseudo_inverse_tends_to_the_inverse():
    weights = operands(1, 2, 5, 5)[0].softmax(-1)
    torch.testing.assert_close(pseudo_inverse(weights, 30), torch.linalg.inv(weights), rtol=1e-8, atol=1e-8)


def test_as_many_landmarks_as_tokens_are_exact_attention():
    q, k, v = operands(1, 2, 6, 4)
    exact = F.scaled_dot_product_attention(q, k, v, scale=1.0)
    torch.testing.assert_close(nystrom_attention(q, k, v, 6, iterations=30), exact, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kernel", [0, 3])
def test_masked_tokens_are_left_out_one_by_one(kernel):
    block = random_block(NystromAttention(6, 2, landmarks=3, kernel=kernel))
    mask = torch.tensor([[True, True, False, True, False, True, True, True], [False] * 3 + [True] * 2 + [False] * 3])

    def formula(x):
        front = torch.zeros(2, 1, dtype=torch.bool)
        real = torch.cat([front, mask], 1)
        q, k, v = (block.qkv(F.pad(x, (0, 0, 1, 0))) * real[..., None]).unflatten(-1, (3, 2, 3)).permute(2, 0, 3, 1, 4)
        q = q / 3**0.5
        parts, seen = [range(3 * i, 3 * i + 3) for i in range(3)], torch.zeros(2, 3, dtype=torch.bool)
        q_means, k_means = (torch.zeros(2, 2, 3, 3, dtype=torch.float64) for _ in range(2))
        for sample in range(2):
            for i, part in enumerate(parts):
                chosen = [token for token in part if real[sample, token]]
                seen[sample, i] = bool(chosen)
                for means, tokens in ((q_means, q), (k_means, k)):
                    means[sample, :, i] = tokens[sample][:, chosen].sum(1) / (len(chosen) + 1e-8)
        reads = softmax_of_seen(q, k_means, real, seen)
        inverse = by_hand(softmax_of_seen(q_means, k_means, seen, seen))
        y = reads @ inverse @ softmax_of_seen(q_means, k, seen, real) @ v
        if kernel:
            y = y + F.conv2d(v, block.local.weight, padding=(1, 0), groups=2)
        return block.proj(y.transpose(1, 2).flatten(2)[:, 1:])

    assert_is_formula(with_mask(block, mask), formula, random_map(2, 8, 6))


def softmax_of_seen(queries, keys, asking, answering):
    """Weigh the keys that take part; a query that takes no part, and one without such keys, weighs all the same."""
    weights = torch.full((*queries.shape[:3], keys.shape[2]), 1 / keys.shape[2], dtype=torch.float64)
    for sample in range(len(queries)):
        chosen = answering[sample].nonzero().flatten()
        for i in asking[sample].nonzero().flatten().tolist():
            row = (queries[sample, :, i : i + 1] * keys[sample][:, chosen]).sum(-1).exp()
            weights[sample, :, i] = 0
            weights[sample][:, i, chosen] = row / row.sum(-1, keepdim=True)
    return weights


def with_mask(block, mask):
    """Return the block with its mask."""

    class Masked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.block = block

        def forward(self, x):
            return self.block(x, mask)

    return Masked()


def test_tokens_that_are_masked_do_not_matter():
    block = random_block(NystromAttention(4, 2, landmarks=2, kernel=0))
    x, mask = random_map(1, 7, 4), torch.tensor([[True, True, False, True, False, True, True]])
    (gradient,) = torch.autograd.grad(block(x, mask)[mask].sum(), x)
    assert (gradient[~mask] == 0).all()
    assert (gradient[mask] != 0).all()
    changed = x.detach().clone()
    changed[~mask] += 1
    torch.testing.assert_close(block(changed, mask)[mask], block(x, mask)[mask])


def test_a_mask_that_leaves_all_is_none():
    q, k, v = operands(2, 2, 6, 4)
    masked = masked_nystrom_attention(q, k, v, torch.ones(2, 6, dtype=torch.bool), 3)
    torch.testing.assert_close(masked, nystrom_attention(q, k, v, 3), rtol=1e-6, atol=1e-6)


def test_programs_agree():
    block = NystromAttention(8, 2, landmarks=4, kernel=5)
    assert_programs_agree(block, random_map(2, 5, 6, 8), random_map(1, 7, 4, 8), channels=-1)
