import itertools

import pytest
import torch
import torch.nn.functional as F

from foveal.core.attention.bilevel import BiLevelRoutingAttention, region_tokens
from foveal.core.attention.dense import SelfAttention
from foveal.tests.fixtures.blocks import assert_is_formula, assert_programs_agree, random_block, random_map


def by_loops(block, x):
    """Region by region, each a box of the padded map."""
    sizes, widths = x.shape[1:-1], [block.qk_dim, block.qk_dim, x.shape[-1]]
    region = [n // block.regions if block.floor else -(-n // block.regions) for n in sizes]
    whole = [
        -(-n // side) * side if block.floor else side * block.regions for n, side in zip(sizes, region, strict=True)
    ]
    missing = [p for n, m in zip(reversed(sizes), reversed(whole), strict=True) for p in (0, m - n)]
    q, k, v = block.qkv(x if block.floor else F.pad(x, (0, 0, *missing))).split(widths, -1)
    local = block.local(v)
    real = torch.ones(1, *sizes, 1, dtype=x.dtype) if block.floor else torch.ones(1, *whole, 1, dtype=x.dtype)
    q, k, v, real = (F.pad(t, (0, 0, *missing)) if block.floor else t for t in (q, k, v, real))
    cuts = [[slice(i, i + side) for i in range(0, n, side)] for n, side in zip(whole, region, strict=True)]
    boxes = [(slice(None), *box) for box in itertools.product(*cuts)]
    q_means, k_means = ([t[box].flatten(1, -2).sum(1) / real[box].sum() for box in boxes] for t in (q, k))
    y = torch.zeros_like(v)
    for b, (i, box) in itertools.product(range(len(x)), enumerate(boxes)):
        scores = torch.stack([q_means[i][b] @ each[b] for each in k_means])
        best = scores.topk(min(block.topk, len(boxes))).indices.tolist()
        k_t, v_t = (torch.cat([t[boxes[j]][b].flatten(0, -2) for j in best]) for t in (k, v))
        parts = zip(*(t.chunk(block.heads, -1) for t in (q[box][b].flatten(0, -2), k_t, v_t)), strict=True)
        mixed = torch.cat([(q_h @ k_h.T / block.qk_dim**0.5).softmax(-1) @ v_h for q_h, k_h, v_h in parts], -1)
        y[b][box[1:]] = mixed.view(*y[box].shape[1:-1], x.shape[-1])
    crop = (slice(None), *map(slice, sizes))
    return block.proj(y[crop] + local[crop])


@pytest.mark.parametrize(("floor", "qk_dim"), [(False, 4), (True, 2)])
@pytest.mark.parametrize(("size", "regions", "topk"), [((5, 7), 3, 4), ((4, 3, 5), 2, 3), ((4, 4), 2, 9)])
def test_it_is_what_loops_over_regions_give(size, regions, topk, qk_dim, floor):
    block = BiLevelRoutingAttention(4, 2, regions, topk, qk_dim, kernel=3, floor=floor, spatial_dims=len(size))
    block = random_block(block)
    assert_is_formula(block, lambda x: by_loops(block, x), random_map(2, *size, 4))


def test_one_region_is_attention_to_all_but_for_the_scale():
    block, whole = random_block(BiLevelRoutingAttention(6, 2, regions=1)), SelfAttention(6, 2).double()
    whole.load_state_dict({name: value for name, value in block.state_dict().items() if "local" not in name})
    for parameter in (whole.qkv.weight, whole.qkv.bias):
        parameter.data[:6] /= 2**0.5
    block.local.conv.weight.data.zero_()
    block.local.conv.bias.data.zero_()
    x = random_map(1, 3, 4, 6)
    torch.testing.assert_close(block(x), whole(x))


def test_regions_are_in_raster_order():
    tokens = region_tokens([4, 6], [2, 3], torch.device("cpu"))
    assert tokens[1].tolist() == [3, 4, 5, 9, 10, 11]
    assert tokens[2].tolist() == [12, 13, 14, 18, 19, 20]


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("floor", [False, True])
def test_programs_agree(floor):
    block = BiLevelRoutingAttention(8, 2, regions=2, topk=2, floor=floor)
    example = random_map(2, 6, 8, 8)
    assert_programs_agree(block, example, example, channels=-1)
    scripted = torch.jit.script(block)
    other = random_map(1, 5, 9, 8).detach().float()
    torch.testing.assert_close(scripted(other), block(other), rtol=1e-4, atol=1e-5)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="heads 2 must divide dim 8 and qk_dim 3"):
        BiLevelRoutingAttention(8, 2, qk_dim=3)
