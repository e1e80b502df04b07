"""Attention inside windows in plain PyTorch, over any number of axes: the equation, and what exports use.

    O = softmax(Q K^T / sqrt(d) + bias + mask) V    in each window of the padded, rolled map

All functions compile as TorchScript. B batch, C channels, G windows of a map, N tokens of a window, h heads, d channels
of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backend import runs_on_cpu
from ..heads import join_heads, split_heads
from ..linear import linear
from .layout import WindowLayout, cut, kept_window_mask, merge, window_mask
from .softmax import is_written_out, softmax_attention, written_out


def window_attention(
    qkv: Tensor, bias: Tensor | None, layout: WindowLayout, fill: Tensor | None = None, drop: float = 0.0
) -> Tensor:
    """Return O (B, *spatial, h, d) for qkv (B, *spatial, 3, h, d), bias (h, N, N) and fill (3, h, d)."""
    sizes = qkv.shape[1:-3]
    h, d = qkv.shape[-2], qkv.shape[-1]
    map_BC = qkv.flatten(-3)
    if fill is not None:  # what is zero after padding is the filling once this is undone
        map_BC = map_BC - fill.flatten()
    windows = cut(map_BC, layout)
    if fill is not None:
        windows = windows + fill.flatten()
    mixed = attend(windows, h, bias, layout_mask(sizes, layout, qkv), drop)
    return merge(mixed, sizes, layout).unflatten(-1, [h, d])


def projected_window_attention(
    x: Tensor,
    qkv_weight: Tensor,
    qkv_bias: Tensor | None,
    heads: int,
    bias: Tensor | None,
    layout: WindowLayout,
    drop: float = 0.0,
) -> Tensor:
    """Return O (B, *spatial, C) for x (B, *spatial, C), of which queries, keys and values are made."""
    sizes = x.shape[1:-1]
    windows = linear(cut(x, layout), qkv_weight, qkv_bias)
    return merge(attend(windows, heads, bias, layout_mask(sizes, layout, windows), drop), sizes, layout)


def attend(qkv: Tensor, heads: int, bias: Tensor | None, mask: Tensor | None, drop: float = 0.0) -> Tensor:
    """Return (B * G, N, h * d) for windows of qkv (B * G, N, 3 * h * d), bias (h, N, N) and mask (G, N or 1, N)."""
    # Parts of one map, whose gradient is one copy; that of a permutation are two.
    q, k, v = [split_heads(each, heads) for each in qkv.chunk(3, -1)]
    return join_heads(attend_apart(q, k, v, bias, mask, drop))


def attend_apart(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, mask: Tensor | None, drop: float = 0.0
) -> Tensor:
    """Return (B * G, h, N, d) for queries, keys and values of windows, of this shape each; see `attend`."""
    added = None if bias is None else bias.to(q.dtype).unsqueeze(0)
    if mask is None:
        return softmax_attention(q, k, v, added, drop)
    apart = mask.unsqueeze(1)
    added = apart if added is None else apart + added
    maps = [-1, mask.shape[0]]
    if is_written_out(q, drop):
        return written_out(q.unflatten(0, maps), k.unflatten(0, maps), v.unflatten(0, maps), added).flatten(0, 1)
    # A recorded program is for any number of maps.
    is_one = (torch.jit.is_scripting() or runs_on_cpu(q)) and q.shape[0] == mask.shape[0]
    if not is_one:
        added = added.repeat(q.shape[0] // mask.shape[0], 1, 1, 1)
    return F.scaled_dot_product_attention(q, k, v, added, drop)


def layout_mask(sizes: list[int], layout: WindowLayout, like: Tensor) -> Tensor | None:
    """Return what `window_mask` does, kept where it may be."""
    if torch.jit.is_scripting():
        return window_mask(sizes, layout, like)
    return kept_window_mask(sizes, layout, like)
