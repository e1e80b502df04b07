"""What else computes the same: PyTorch's fused attention with biases written out, and FlexAttention."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..window_attention.layout import WindowLayout, cut, merge, window_mask
from .case import Form


@cache
def flex_attention() -> Form:
    """Return FlexAttention, compiled."""
    from torch.nn.attention.flex_attention import flex_attention as plain

    return torch.compile(plain, dynamic=False)


def usual_windows(layout: WindowLayout) -> Form:
    """Return attention inside windows that are cut out, with all scores; the reference has the fused form of it."""

    def call(qkv: Tensor, bias: Tensor) -> Tensor:
        q, k, v, mask = _windows(qkv, layout)
        scores = (q * q.shape[-1] ** -0.5) @ k.mT + bias.to(q.dtype)
        if mask is not None:
            scores = (scores.unflatten(0, (-1, len(mask))) + mask.unsqueeze(1)).flatten(0, 1)
        return _merged(scores.softmax(-1) @ v, qkv, layout)

    return call


def windows_by_flex(layout: WindowLayout) -> Form:
    """Return the same with bias and mask added where the scores are made."""

    def call(qkv: Tensor, bias: Tensor) -> Tensor:
        q, k, v, mask = _windows(qkv, layout)

        def score(value: Tensor, group: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            value = value + bias[head, query, key]
            return value if mask is None else value + mask[group % len(mask), query, key]

        return _merged(flex_attention()(q, k, v, score_mod=score), qkv, layout)

    return call


def neighborhoods_by_sdpa(sizes: tuple[int, ...], kernel: int, device: str) -> Form:
    """Return attention of all tokens in raster order, with a mask of all pairs."""
    places = torch.arange(torch.Size(sizes).numel(), device=device)
    mask = _seen(sizes, kernel, places[:, None], places)

    def call(qkv: Tensor) -> Tensor:
        q, k, v = qkv.flatten(1, -4).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).unflatten(1, sizes)

    return call


def neighborhoods_by_flex(sizes: tuple[int, ...], kernel: int, device: str) -> Form:
    """Return the same, but blocks without neighbours are skipped."""
    from torch.nn.attention.flex_attention import create_block_mask

    def sees(_: Tensor, __: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return _seen(sizes, kernel, query, key)

    tokens = torch.Size(sizes).numel()
    mask = create_block_mask(sees, None, None, tokens, tokens, device=device, _compile=True)

    def call(qkv: Tensor) -> Tensor:
        q, k, v = qkv.flatten(1, -4).permute(2, 0, 3, 1, 4)
        return flex_attention()(q, k, v, block_mask=mask).transpose(1, 2).unflatten(1, sizes)

    return call


def usual_positions(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return attention between positions with the map of all pairs; the reference has the fused form of it."""
    return torch.softmax(q @ k.mT, -1) @ v


def positions_by_flex(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return the attention of one head."""
    return flex_attention()(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1), scale=1.0).squeeze(1)


def _seen(sizes: tuple[int, ...], kernel: int, query: Tensor, key: Tensor) -> Tensor:
    """Tell whether a token is in another's neighbourhood, by their numbers."""
    seen = query >= 0
    for size in reversed(sizes):
        start = (query % size - kernel // 2).clamp(0, size - kernel)
        seen = seen & (key % size >= start) & (key % size < start + kernel)
        query, key = query // size, key // size
    return seen


def _windows(qkv: Tensor, layout: WindowLayout) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return queries, keys and values (windows, h, N, d) and the mask of the windows of a map."""
    windows = cut(qkv.flatten(-3), layout).unflatten(-1, list(qkv.shape[-3:]))
    q, k, v = windows.permute(2, 0, 3, 1, 4)
    return q, k, v, window_mask(list(qkv.shape[1:-3]), layout, qkv)


def _merged(mixed: Tensor, qkv: Tensor, layout: WindowLayout) -> Tensor:
    return merge(mixed.transpose(1, 2).flatten(2), list(qkv.shape[1:-3]), layout).unflatten(-1, list(qkv.shape[-2:]))
