"""Softmax attention of listed queries to listed keys: what windows and neighbourhoods come to on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .groups import Group
from .reference import GroupAttention, group_attention_forward

__all__ = ["Group", "group_attention"]


def group_attention(
    qkv: Tensor, groups: Sequence[Group], bias: Tensor | None = None, fill: Tensor | None = None
) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + bias + penalty) v of each group; exact, some groups after others.

    Neither the scores of a map nor copies of it in windows are ever held as a whole, in the backward pass too.

    Args:
        qkv: (B, N, 3, heads, d): queries, keys and values of a map's tokens. Half precision is computed in float32.
        groups: every token is a query of one of them.
        bias: (heads, T), of which a group's `pairs` say where its pairs find theirs; None for none.
        fill: (3, heads, d), what padding has for keys and values; None for zeros.

    Returns:
        (B, N, heads, d) in the dtype of `qkv`.
    """
    wide = torch.promote_types(qkv.dtype, torch.float32)
    groups = [group.on(qkv.device) for group in groups]
    tensors = [None if each is None else each.to(wide) for each in (qkv, bias, fill)]
    if torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in tensors):
        return GroupAttention.apply(*tensors, groups).to(qkv.dtype)
    return group_attention_forward(*tensors, groups).to(qkv.dtype)
