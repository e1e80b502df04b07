"""Softmax attention inside windows of a map of any number of axes, shifted or spread over the map, padding included."""

from math import prod

import torch
from torch import Tensor

from ..backend import HAS_TRITON, runs_on_cpu, runs_on_triton
from ..group_attention import group_attention
from ..linear import linear
from . import reference
from .groups import window_groups
from .layout import WindowLayout, whole_sizes
from .projected import projected_groups
from .softmax import is_large

if HAS_TRITON:
    from . import triton

FEW_TOKENS = 2**10
"""Of so few, all windows are computed at once on a CPU: their products are too small to be cut into several."""
FEW_SCORES = 2**20
"""With no more of them the same is true in training."""


def window_attention(
    qkv: Tensor, bias: Tensor | None, layout: WindowLayout, fill: Tensor | None = None, drop: float = 0.0
) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + bias + mask) v inside each window of the map.

    On a GPU it is a Triton kernel, in which neither scores nor cut maps exist. On a CPU some windows follow others, the
    backward pass of large maps too, so that these are not held as a whole.

    Args:
        qkv: (B, *spatial, 3, heads, d): queries, keys and values.
        bias: (heads, N, N), added to the scores of the N tokens of a window; None for none.
        layout: the windows.
        fill: (3, heads, d), what padding has for queries, keys and values; None for zeros.
        drop: rate of dropout of the attention weights.

    Returns:
        (B, *spatial, heads, d) in the dtype of `qkv`.
    """
    if torch.jit.is_scripting():
        return reference.window_attention(qkv, bias, layout, fill, drop)
    if HAS_TRITON and runs_on_triton("window_attention", qkv, triton.obstacle(qkv.shape[-1], layout, drop)):
        return triton.window_attention(qkv, bias, fill, *layout[:5])[0]
    sizes = qkv.shape[1:-3]
    if not _in_turns(qkv, sizes, qkv.shape[-2], bias, layout, drop):
        return reference.window_attention(qkv, bias, layout, fill, drop)
    table = None if bias is None else bias.flatten(1)
    return group_attention(qkv.flatten(1, -4), window_groups(sizes, layout), table, fill).unflatten(1, sizes)


def projected_window_attention(
    x: Tensor,
    qkv_weight: Tensor,
    qkv_bias: Tensor | None,
    proj_weight: Tensor,
    proj_bias: Tensor | None,
    heads: int,
    bias: Tensor | None,
    layout: WindowLayout,
    drop: float = 0.0,
) -> Tensor:
    """Return proj(window_attention(qkv(x))), where padding is zeros before the projection.

    Args:
        x: (B, *spatial, C).
        qkv_weight: (3 * heads * d, C), all queries first, then all keys; the channels of a head side by side.
        qkv_bias: (3 * heads * d), or None.
        proj_weight: (C', heads * d).
        proj_bias: (C'), or None.
        heads: of the attention.
        bias: (heads, N, N), see `window_attention`.
        layout: the windows.
        drop: rate of dropout of the attention weights.

    Returns:
        (B, *spatial, C').
    """
    if torch.jit.is_scripting():
        mixed = reference.projected_window_attention(x, qkv_weight, qkv_bias, heads, bias, layout, drop)
        return linear(mixed, proj_weight, proj_bias)
    shape = [3, heads, qkv_weight.shape[0] // 3 // heads]
    on_triton = HAS_TRITON and runs_on_triton("window_attention", x, triton.obstacle(shape[2], layout, drop))
    in_turns = not on_triton and _in_turns(x, x.shape[1:-1], heads, bias, layout, drop)
    if not on_triton and not in_turns:
        mixed = reference.projected_window_attention(x, qkv_weight, qkv_bias, heads, bias, layout, drop)
        return linear(mixed, proj_weight, proj_bias)
    if in_turns and not torch.is_grad_enabled():
        table = None if bias is None else bias.flatten(1)
        groups = window_groups(x.shape[1:-1], layout)
        return projected_groups(x, (qkv_weight, qkv_bias), (proj_weight, proj_bias), heads, table, groups)
    fill = None if qkv_bias is None else qkv_bias.view(shape)
    mixed = window_attention(linear(x, qkv_weight, qkv_bias).unflatten(-1, shape), bias, layout, fill)
    return linear(mixed.flatten(-2), proj_weight, proj_bias)


def _in_turns(
    x: Tensor, sizes: tuple[int, ...], heads: int, bias: Tensor | None, layout: WindowLayout, drop: float
) -> bool:
    """Tell whether windows follow one another: on a CPU, in a program that is run and not recorded, where it pays."""
    if drop > 0 or not runs_on_cpu(x):
        return False
    whole = whole_sizes(sizes, layout)
    nothing_added = bias is None and max(layout.shift) == 0 and whole == list(sizes)
    if nothing_added and is_large(prod(layout.window)):  # PyTorch's fused form of all windows makes no map of scores
        return False
    tokens = prod(whole)
    if not torch.is_grad_enabled():
        return x.shape[0] * tokens > FEW_TOKENS
    return x.shape[0] * heads * tokens * prod(layout.window) > FEW_SCORES
