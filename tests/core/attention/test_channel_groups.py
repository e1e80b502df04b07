"""Attention between channels against a loop over heads and channels, in float64."""

import pytest
import torch
from torch import Tensor

from foveal.core.attention.channel_groups import ChannelGroupAttention


def plain(block: ChannelGroupAttention, x: Tensor) -> Tensor:
    tokens = x.flatten(1, -2)
    d = x.shape[-1] // block.heads
    q, k, v = block.qkv(tokens).chunk(3, -1)
    out = torch.zeros_like(tokens)
    scale = (tokens.shape[1] if block.by_positions else d) ** -0.5 if block.second else d**-0.5
    rows, columns, values = (q, k, v) if block.second else (k, v, q)
    for channel in range(x.shape[-1]):
        group = slice(channel // d * d, channel // d * d + d)
        scores = torch.einsum("bn,bnc->bc", rows[..., channel], columns[..., group]) * scale
        out[..., channel] = torch.einsum("bc,bnc->bn", scores.softmax(-1), values[..., group])
    return block.proj(out).view(x.shape)


@pytest.mark.parametrize("options", [{}, {"second": True}, {"second": True, "by_positions": False}])
@pytest.mark.parametrize("sizes", [(7,), (3, 5), (2, 3, 2)])
def test_block_is_the_formula(options: dict, sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    block = ChannelGroupAttention(6, 2, **options).double().eval()
    x = torch.randn(2, *sizes, 6, dtype=torch.float64)
    torch.testing.assert_close(block(x), plain(block, x))
    torch.testing.assert_close(torch.jit.script(block)(x), plain(block, x))


def test_gradcheck_and_export() -> None:
    torch.manual_seed(0)
    block = ChannelGroupAttention(4, 2).double().eval()
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x,))
    with torch.no_grad():
        torch.testing.assert_close(torch.export.export(block, (x,)).module()(x), block(x))


def test_wrong_heads() -> None:
    with pytest.raises(ValueError, match="divide"):
        ChannelGroupAttention(6, 4)
