import pytest
import torch

from foveal.core.attention.dense import SelfAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("size", [(7,), (3, 5), (2, 3, 4)])
def test_it_is_the_formula(size):
    block = random_block(SelfAttention(6, heads=2))

    def formula(x):
        q, k, v = block.qkv(x.flatten(1, -2)).chunk(3, -1)
        heads = zip(*(t.chunk(2, -1) for t in (q, k, v)), strict=True)
        mixed = [(q @ k.mT / 3**0.5).softmax(-1) @ v for q, k, v in heads]
        return block.proj(torch.cat(mixed, -1)).view(x.shape)

    assert_is_formula(block, formula, random_map(2, *size, 6))


def test_programs_agree():
    assert_programs_agree(SelfAttention(8, heads=2), random_map(2, 5, 6, 8), random_map(1, 9, 4, 8), channels=-1)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="heads 3 must divide dim 8"):
        SelfAttention(8, heads=3)
