import pytest
import torch

from foveal.core.attention.efficient import EfficientAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("size", [(7,), (3, 5), (2, 3, 4)])
def test_it_is_the_formula(size):
    block = random_block(EfficientAttention(6, heads=2, key_dim=4, value_dim=8))

    def formula(x):
        q, k, v = block.qkv(x.flatten(1, -2)).split([4, 4, 8], -1)
        heads = []
        for q_h, k_h, v_h in zip(q.chunk(2, -1), k.chunk(2, -1), v.chunk(2, -1), strict=True):
            heads.append(q_h.softmax(2) @ (k_h.softmax(1).mT @ v_h))
        return block.proj(torch.cat(heads, -1)).unflatten(1, size)

    assert_is_formula(block, formula, random_map(2, *size, 6))


def test_programs_agree():
    assert_programs_agree(EfficientAttention(8, heads=2), random_map(2, 5, 6, 8), random_map(1, 9, 4, 8), channels=-1)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="heads 3 must divide"):
        EfficientAttention(9, heads=3, key_dim=4)
