import itertools

import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.dense import SelfAttention
from foveal.core.attention.hilo import HiLoAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def attended(q, k, v, heads):
    parts = zip(*(t.chunk(heads, -1) for t in (q, k, v)), strict=True)
    return torch.cat([(q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v for q, k, v in parts], -1)


def boxes(sizes, window):
    """The windows of a map of whole windows, as slices."""
    cuts = [[slice(i, i + side) for i in range(0, size, side)] for size, side in zip(sizes, window, strict=True)]
    return list(itertools.product(*cuts))


@pytest.mark.parametrize(
    ("size", "window", "share"),
    [((4, 5), (2, 2), 0.5), ((3, 4), (2, 2), 0.0), ((5, 4), (2, 3), 1.0), ((3, 4, 2), (2, 2, 2), 0.5)],
)
def test_it_is_the_formula_with_padding_that_takes_part(size, window, share):
    block = random_block(HiLoAttention(8, 4, window, share, qkv_bias=True))

    def formula(x):
        whole = [-(-n // w) * w for n, w in zip(size, window, strict=True)]
        missing = [pad for n, m in zip(reversed(size), reversed(whole), strict=True) for pad in (0, m - n)]
        x, real = F.pad(x, (0, 0, *missing)), (slice(None), *(slice(n) for n in size))
        parts = []
        if share < 1:
            high, y = block.branches["high"], x.new_zeros(*x.shape[:-1], round(8 * (1 - share)))
            for box in boxes(whole, window):
                mixed = high.proj(attended(*high.qkv(x[:, *box].flatten(1, -2)).chunk(3, -1), high.heads))
                y[:, *box] = mixed.view(y[:, *box].shape)
            parts.append(y[real])
        if share > 0:
            low, means = block.branches["low"], [x[:, *box].flatten(1, -2).mean(1) for box in boxes(whole, window)]
            y = attended(low.q(x.flatten(1, -2)), *low.kv(torch.stack(means, 1)).chunk(2, -1), low.heads)
            parts.append(low.proj(y).view(*x.shape[:-1], -1)[real])
        return torch.cat(parts, -1)

    assert_is_formula(block, formula, random_map(2, *size, 8))


def test_windows_of_one_position_are_attention_to_all():
    block, whole = random_block(HiLoAttention(6, 2, (1, 1), 0.5)), SelfAttention(6, 2, qkv_bias=False).double()
    (heads,) = block.branches.values()
    whole.qkv.weight.data = torch.cat([heads.q.weight, heads.kv.weight]).detach()
    whole.proj = heads.proj
    x = random_map(1, 3, 4, 6)
    torch.testing.assert_close(block(x), whole(x))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_programs_agree(share):
    block = HiLoAttention(8, 2, (2, 2), share)
    assert_programs_agree(block, random_map(2, 5, 7, 8), random_map(1, 9, 3, 8), channels=-1)


def test_heads_that_do_not_divide_and_shares_beyond_one_are_refused():
    for heads, share in ((3, 0.5), (2, 1.5)):
        with pytest.raises(ValueError, match="must divide dim 8, and share"):
            HiLoAttention(8, heads, share=share)
