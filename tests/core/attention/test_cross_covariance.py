import pytest
import torch

from foveal.core.attention.cross_covariance import CrossCovarianceAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("size", [(7,), (3, 5), (2, 3, 4)])
def test_it_is_the_formula(size):
    block = random_block(CrossCovarianceAttention(12, heads=3))

    def formula(x):
        q, k, v = (t.unflatten(-1, (3, 4)) for t in block.qkv(x.flatten(1, -2)).chunk(3, -1))
        q, k = (t / t.square().sum(1, keepdim=True).sqrt() for t in (q, k))
        weights = (torch.einsum("bnhi,bnhj->bhij", q, k) * block.temperature).softmax(-1)
        return block.proj(torch.einsum("bhij,bnhj->bnhi", weights, v).reshape(x.shape))

    assert_is_formula(block, formula, random_map(2, *size, 12))


def test_order_of_positions_does_not_matter():
    block, x = random_block(CrossCovarianceAttention(8, heads=2)), random_map(1, 6, 8)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(x[:, order]), block(x)[:, order])


def test_programs_agree():
    block = CrossCovarianceAttention(8, heads=2, qkv_bias=False)
    assert_programs_agree(block, random_map(2, 5, 6, 8), random_map(1, 9, 4, 8), channels=-1)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="heads 3 must divide dim 8"):
        CrossCovarianceAttention(8, heads=3)
