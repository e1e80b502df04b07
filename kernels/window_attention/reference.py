"""Attention inside windows in plain PyTorch, over any number of axes: the equation, and what exports use.

    O = softmax(Q K^T / sqrt(d) + bias + mask) V    in each window of the padded, rolled map

All functions compile as TorchScript. B batch, C channels, G windows of a map, N tokens of a window, h heads, d channels
of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

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
    mixed = attend(windows.unflatten(-1, [3, h, d]), bias, layout_mask(sizes, layout, qkv), drop)
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
    windows = F.linear(cut(x, layout), qkv_weight, qkv_bias)
    return merge(
        attend(windows.unflatten(-1, [3, heads, -1]), bias, layout_mask(sizes, layout, windows), drop), sizes, layout
    )


def attend(qkv: Tensor, bias: Tensor | None, mask: Tensor | None, drop: float = 0.0) -> Tensor:
    """Return (B * G, N, h * d) for windows of qkv (B * G, N, 3, h, d), bias (h, N, N) and mask (G, N or 1, N)."""
    q, k, v = [each.transpose(1, 2) for each in qkv.unbind(2)]  # whose gradient is one copy, that of a permutation two
    added = None if bias is None else bias.to(qkv.dtype).unsqueeze(0)
    if mask is None:
        return softmax_attention(q, k, v, added, drop).transpose(1, 2).flatten(2)
    apart = mask.unsqueeze(1)
    added = apart if added is None else apart + added
    maps = [-1, mask.shape[0]]
    if is_written_out(q, drop):
        mixed = written_out(q.unflatten(0, maps), k.unflatten(0, maps), v.unflatten(0, maps), added).flatten(0, 1)
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, added.repeat(q.shape[0] // mask.shape[0], 1, 1, 1), drop)
    return mixed.transpose(1, 2).flatten(2)


def layout_mask(sizes: list[int], layout: WindowLayout, like: Tensor) -> Tensor | None:
    """Return what `window_mask` does, kept where it may be."""
    if torch.jit.is_scripting():
        return window_mask(sizes, layout, like)
    return kept_window_mask(sizes, layout, like)
