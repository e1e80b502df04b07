"""Windows that are asked by queries of the whole map, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.core.attention.global_query import (
    ExcitedConvolution,
    GlobalQuery,
    GlobalQueryAttention,
    GlobalQueryStage,
)


def filled(block: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    return block.double().eval()


def window_by_window(block: GlobalQueryAttention, x: Tensor, query: Tensor) -> Tensor:
    height, width = block.window
    out = torch.zeros_like(x)
    for top in range(0, x.shape[1], height):
        for left in range(0, x.shape[2], width):
            tokens = x[:, top : top + height, left : left + width]
            rows, columns = tokens.shape[1:3]
            k, v = (t.unflatten(-1, (block.heads, -1)).flatten(1, 2) for t in block.kv(tokens).chunk(2, -1))
            q = query[:, :rows, :columns].unflatten(-1, (block.heads, -1)).flatten(1, 2)
            scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
            for a in range(rows * columns):
                for b in range(rows * columns):
                    down, right = a // columns - b // columns + height - 1, a % columns - b % columns + width - 1
                    scores[:, :, a, b] += block.position.table[down * (2 * width - 1) + right]
            y = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2)
            out[:, top : top + height, left : left + width] = block.proj(y).view(tokens.shape)
    return out


@pytest.mark.parametrize("sizes", [(6, 4), (5, 7)])
def test_every_window_is_asked_the_same(sizes: tuple[int, int]) -> None:
    block = filled(GlobalQueryAttention(4, 2, (3, 2)))
    x, query = torch.randn(2, *sizes, 4, dtype=torch.float64), torch.randn(2, 3, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(block(x, query), window_by_window(block, x, query))


def test_convolution_is_the_formula() -> None:
    block = filled(ExcitedConvolution(12))
    x = torch.randn(2, 12, 3, 4, dtype=torch.float64)
    y = F.gelu(F.conv2d(x, block.depthwise.weight, padding=1, groups=12))
    gate = F.gelu(y.mean((2, 3)) @ block.squeeze.weight.flatten(1).T) @ block.excite.weight.flatten(1).T
    torch.testing.assert_close(block(x), x + block.project(y * gate.sigmoid()[:, :, None, None]))


@pytest.mark.parametrize(("halvings", "sizes"), [(0, (3, 2)), (1, (6, 4)), (2, (12, 8))])
def test_queries_fill_one_window(halvings: int, sizes: tuple[int, int]) -> None:
    assert GlobalQuery(8, halvings)(torch.randn(1, 8, *sizes)).shape == (1, 8, 3, 2)


@pytest.mark.parametrize(("window", "sizes"), [((3, 3), (6, 5)), ((2, 2, 2), (4, 3, 4))])
def test_stage_goes_by_turns(window: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    block = filled(GlobalQueryStage(8, 3, 2, window))
    x = torch.randn(2, 8, *sizes, dtype=torch.float64)
    whole = F.pad(x, [n for side, size in zip(window[::-1], sizes[::-1], strict=True) for n in (0, 2 * side - size)])
    query = block.query(whole).movedim(1, -1)
    expected = block.last(block.global_blocks[0](block.local_blocks[0](x.movedim(1, -1)), query)).movedim(-1, 1)
    torch.testing.assert_close(block(x), expected)
    torch.testing.assert_close(torch.jit.script(block)(x), expected)


def test_too_long_a_map_and_wrong_heads() -> None:
    with pytest.raises(ValueError, match="raise halvings"):
        GlobalQueryStage(8, 1, 2, (3, 3))(torch.randn(1, 8, 7, 6))
    with pytest.raises(ValueError, match="divide"):
        GlobalQueryAttention(8, 3)


def test_export_takes_the_same_values() -> None:
    block = filled(GlobalQueryStage(8, 2, 2, (3, 3))).requires_grad_(False)
    x = torch.randn(1, 8, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(torch.export.export(block, (x,)).module()(x), block(x))
