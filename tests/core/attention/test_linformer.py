import pytest
import torch

from foveal.core.attention.linformer import LinformerAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("one_head", [False, True])
@pytest.mark.parametrize("size", [(12,), (3, 3), (2, 2, 3)])
@pytest.mark.parametrize("top_k", [0, 2, 7])
def test_it_is_the_formula(shared, one_head, size, top_k):
    block = random_block(LinformerAttention(6, 2, length=12, rank=5, shared=shared, one_head=one_head, top_k=top_k))

    def formula(x):
        tokens = x.flatten(1, -2)
        count = tokens.shape[1]
        q, kv = block.q(tokens), block.kv(tokens)
        k, v = (kv, kv) if shared else kv.chunk(2, -1)
        k, v = (block.mixing[i, :count].mT @ part for i, part in ((0, k), (-1, v)))
        heads = [k] * 2, [v] * 2
        if not one_head:
            heads = k.chunk(2, -1), v.chunk(2, -1)
        parts = zip(q.chunk(2, -1), *heads, strict=True)
        mixed = [softmax_of_largest(q @ k.mT / 3**0.5, top_k or 5) @ v for q, k, v in parts]
        return block.proj(torch.cat(mixed, -1)).view(x.shape)

    assert_is_formula(block, formula, random_map(2, *size, 6))


def softmax_of_largest(scores, count):
    """Sort in descending order the scores of one row after another."""
    weights = torch.zeros_like(scores)
    for row in torch.cartesian_prod(*map(torch.arange, scores.shape[:-1])).tolist():
        kept = sorted(range(scores.shape[-1]), key=lambda i, row=row: -scores[*row, i].item())[:count]
        exponentials = scores[*row, kept].exp()
        weights[*row, kept] = exponentials / exponentials.sum()
    return weights


@pytest.mark.parametrize("top_k", [0, 2])
def test_programs_agree(top_k):
    block = LinformerAttention(8, 2, length=40, rank=3, top_k=top_k)
    assert_programs_agree(block, random_map(2, 5, 6, 8), random_map(1, 7, 4, 8), channels=-1)


def test_more_tokens_than_there_are_rows_are_refused():
    with pytest.raises(ValueError, match="5 tokens are more than length 4"):
        LinformerAttention(4, 2, length=4)(torch.zeros(1, 5, 4))


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="heads 3 must divide dim 8"):
        LinformerAttention(8, 3, 4)
