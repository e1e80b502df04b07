"""Neighbourhood attention against dense attention whose pairs are told one axis after another, in float64."""

import pytest
import torch
from torch import Tensor

from foveal.core.attention.neighborhood import NeighborhoodAttention
from foveal.kernels.neighborhood_attention.tiling import _neighborhoods

CASES = {
    "line": ({"kernel": (5,)}, (40,)),
    "line, strided and dilated": ({"kernel": (4,), "stride": 2, "dilation": 3}, (31,)),
    "map": ({"kernel": (3, 5), "position_bias": True}, (9, 13)),
    "even kernel": ({"kernel": (4, 2), "stride": (3, 1)}, (9, 7)),
    "dilated": ({"kernel": (3, 3), "dilation": (2, 3), "position_bias": True}, (9, 10)),
    "causal": ({"kernel": (3, 4), "stride": (2, 1), "causal": (True, False), "dilation": (1, 2)}, (8, 9)),
    "causal bias": ({"kernel": (3, 3), "causal": True, "position_bias": True}, (5, 6)),
    "volume": ({"kernel": (3, 2, 3), "stride": (1, 2, 3), "dilation": (1, 2, 1)}, (6, 5, 4)),
    "longer than the map": ({"kernel": (5, 5), "dilation": 2, "stride": 4, "position_bias": True}, (4, 7)),
}


def attention(**options: object) -> NeighborhoodAttention:
    torch.manual_seed(0)
    block = NeighborhoodAttention(4, 2, **options).double().eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    return block


def seen(size: int, kernel: int, dilation: int, stride: int, causal: bool) -> Tensor:
    """Return (queries, keys), true where a key is seen."""
    pairs = torch.zeros(size, size, dtype=torch.bool)
    for i in range(size):
        group = list(range(i % dilation, size, dilation))
        k = min(kernel, len(group))
        s = min(stride, k)
        t = i // dilation
        if causal:
            leader = min(t // s * s + s - 1, len(group) - 1)
            keys = range(max(leader - k + 1, 0), t + 1)
        else:
            leader = min(t // s * s + s // 2, len(group) - 1)
            start = max(0, min(leader - k // 2, len(group) - k))
            keys = range(start, start + k)
        pairs[i, [group[key] for key in keys]] = True
    return pairs


def plain(block: NeighborhoodAttention, x: Tensor) -> Tensor:
    sizes = x.shape[1:-1]
    places = torch.cartesian_prod(*map(torch.arange, sizes)).view(-1, len(sizes))
    visible = torch.ones(len(places), len(places), dtype=torch.bool)
    offsets = []
    for axis, size in enumerate(sizes):
        at = places[:, axis]
        settings = (block.kernel[axis], block.dilation[axis], block.stride[axis], block.causal[axis])
        visible &= seen(size, *settings)[at][:, at]
        offsets.append((at - at[:, None]).div(settings[1], rounding_mode="floor") + settings[0] - 1)
    qkv = block.qkv(x).flatten(1, -2).unflatten(-1, (3, 2, 2))
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    scores = q @ k.mT / 2**0.5
    if block.bias is not None:
        inside = [offset.clamp(0, 2 * kernel - 2) for offset, kernel in zip(offsets, block.kernel, strict=True)]
        scores = scores + block.bias[(slice(None), *inside)]
    weights = scores.masked_fill(~visible, -torch.inf).softmax(-1)
    return block.proj((weights @ v).transpose(1, 2).flatten(2)).view_as(x)


@pytest.mark.parametrize(("options", "sizes"), CASES.values(), ids=CASES)
def test_values_and_gradients_are_those_of_dense_attention(options: dict, sizes: tuple[int, ...]) -> None:
    block = attention(**options)
    x = torch.randn(2, *sizes, 4, dtype=torch.float64, requires_grad=True)
    weights = [x, *block.parameters()]
    cotangent = torch.randn(2, *sizes, 4, dtype=torch.float64)
    expected = plain(block, x)
    with torch.no_grad():
        torch.testing.assert_close(block(x), expected)
    gradients = torch.autograd.grad(expected, weights, cotangent)
    for ours, theirs in zip(torch.autograd.grad(block(x), weights, cotangent), gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_every_token_is_seen_by_a_whole_kernel() -> None:
    block = attention(kernel=(11, 11))
    x = torch.randn(1, 11, 11, 4, dtype=torch.float64)
    full = torch.nn.functional.scaled_dot_product_attention(
        *block.qkv(x).flatten(1, 2).unflatten(-1, (3, 2, 2)).permute(2, 0, 3, 1, 4)
    )
    torch.testing.assert_close(block(x), block.proj(full.transpose(1, 2).flatten(2)).view_as(x))


def test_short_maps_are_padded_where_asked() -> None:
    block = attention(kernel=(3, 3), dilation=2, pad_short=True)
    x = torch.randn(1, 4, 9, 4, dtype=torch.float64)
    whole = torch.nn.functional.pad(x, [0, 0, 0, 0, 0, 2])
    torch.testing.assert_close(block(x), block(whole)[:, :4])


@pytest.mark.parametrize("gradients", [True, False])
def test_mixed_precision(gradients: bool) -> None:
    block = attention(kernel=(3, 3), position_bias=True).float()
    x = torch.randn(1, 6, 7, 4)
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(gradients):
        y = block(x)
    assert float((y.float() - block(x)).norm() / block(x).norm()) < 2e-2


def test_export_and_trace_take_the_same_values() -> None:
    block = attention(kernel=(3, 3), dilation=2, position_bias=True).requires_grad_(False)
    x = torch.randn(2, 9, 7, 4, dtype=torch.float64)
    exported = torch.export.export(block, (x,)).module()
    _neighborhoods.cache_clear()
    traced = torch.jit.trace(block, x)
    _neighborhoods.cache_clear()
    for program in (exported, traced):
        torch.testing.assert_close(program(x + 1), block(x + 1))


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_it_compiles_without_breaks() -> None:
    block = attention(kernel=(3, 3), position_bias=True)
    x = torch.randn(1, 4, 9, 4, dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(block, fullgraph=True, backend="eager")
    results = []
    for form in (compiled, block):
        y = form(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, *block.parameters()])])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"kernel": (3,), "stride": 4}, "stride"), ({"kernel": (4,), "position_bias": True}, "odd")],
)
def test_wrong_arguments(options: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        attention(**options)
    with pytest.raises(ValueError, match="divide"):
        NeighborhoodAttention(4, 3)
