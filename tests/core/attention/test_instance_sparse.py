import math

import pytest
import torch

from foveal.core.attention.instance_sparse import InstanceSparseAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def made(tokens=13, keep=0.3):
    return random_block(InstanceSparseAttention(12, tokens, 3, keep, patterns=5, active=2, threshold=0.2))


def heads(block, x):
    return (x @ block.qkv.weight.T + block.qkv.bias).view(*x.shape[:2], 3, 3, 4).permute(2, 0, 3, 1, 4)


def brute_estimate(block, x):
    """Query by query."""
    q, k, _ = heads(block, x)
    patterns = torch.where(block.patterns.abs() > 0.2, block.patterns.abs(), 0.0)
    estimate = x.new_zeros(x.shape[0], 3, x.shape[1] - 1, x.shape[1])
    for b in range(x.shape[0]):
        for head in range(3):
            keys = (k[b, head] @ block.narrow_key.weight.T + block.narrow_key.bias).T @ block.gather_keys
            for n in range(1, x.shape[1]):
                query = block.narrow_query.weight @ q[b, head, n] + block.narrow_query.bias
                shares = torch.softmax(query @ keys / 3**0.5, 0)
                for pattern in sorted(range(5), key=lambda one: -shares[one].item())[:2]:
                    estimate[b, head, n - 1] = estimate[b, head, n - 1] + shares[pattern] * patterns[:, pattern]
    return estimate


def test_the_estimate_and_the_kept_keys_are_those_of_loops():
    block, x = made(), random_map(2, 13, 12).detach()
    expected = brute_estimate(block, x)
    torch.testing.assert_close(block.estimate(x), expected)
    mask = block.mask(x)
    assert mask[:, :, 0].all()
    assert (mask[:, :, 1:].sum(-1) == math.ceil(0.3 * 13)).all()
    lowest_kept = expected.masked_fill(~mask[:, :, 1:], math.inf).amin(-1)
    assert (lowest_kept >= expected.masked_fill(mask[:, :, 1:], -math.inf).amax(-1)).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_queries_attend_to_what_the_mask_keeps(sparse):
    block = made()
    block.sparse = sparse

    def formula(x):
        q, k, v = heads(block, x)
        scores = q @ k.mT / 2
        weights = torch.softmax(scores.masked_fill(~block.mask(x), -math.inf) if sparse else scores, -1)
        return (weights @ v).transpose(1, 2).flatten(2) @ block.proj.weight.T + block.proj.bias

    assert_is_formula(block, formula, random_map(2, 13, 12))


def test_the_estimate_can_be_fitted_to_the_attention():
    block, x = made(), random_map(2, 13, 12).detach()
    (block.estimate(x) - block.attention(x)[:, :, 1:]).square().sum().backward()
    for name in ("narrow_query.weight", "narrow_key.weight", "gather_keys", "patterns"):
        assert block.get_parameter(name).grad.abs().sum() > 0
    torch.testing.assert_close(block.attention(x).sum(-1), torch.ones(2, 3, 13, dtype=torch.float64))


def test_the_choice_gets_no_gradient():
    block = made()
    block(random_map(1, 13, 12)).sum().backward()
    assert block.patterns.grad is None
    assert block.qkv.weight.grad.abs().sum() > 0


def test_all_keys_kept_is_full_attention():
    block, x = made(keep=1.0), random_map(1, 13, 12)
    sparse = block(x)
    block.sparse = False
    torch.testing.assert_close(sparse, block(x))


def test_programs_agree_on_other_batches():
    assert_programs_agree(made(), random_map(2, 13, 12), random_map(3, 13, 12), channels=-1)


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="heads 5 must divide dim 12"):
        InstanceSparseAttention(12, 13, 5)
