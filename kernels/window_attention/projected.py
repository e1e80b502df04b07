"""Windows with their projections, some windows after others: what inference on a CPU does.

The tokens of a few windows, what is projected from them and what comes of it stay in a processor's cache, and no map of
queries, keys and values is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from ..group_attention.groups import Group
from ..group_attention.reference import added_scores, in_batch
from ..heads import join_heads, split_heads
from ..linear import linear

NUMBERS = 2**18  # of queries, keys and values at once


def projected_groups(
    x: Tensor,
    qkv: tuple[Tensor, Tensor | None],
    proj: tuple[Tensor, Tensor | None],
    heads: int,
    bias: Tensor | None,
    groups: Sequence[Group],
) -> Tensor:
    """Return proj(O) (B, *spatial, C) for x (B, *spatial, C); O is what each window's attention gives.

    Args:
        x: the map.
        qkv: weight and bias that make queries, keys and values; padding is zeros before that.
        proj: weight and bias of the output.
        heads: of the attention.
        bias: (heads, T), see `group_attention`.
        groups: whose queries are among their keys, as those of `window_groups`.
    """
    B, C = x.shape[0], x.shape[-1]
    rows = x.reshape(-1, C)
    mixed = x.new_empty(rows.shape[0], proj[0].shape[0])
    for group in groups:
        added = added_scores(group, bias, x.dtype)
        for some, others in group.chunks(B * group.keys.shape[1] * qkv[0].shape[0], NUMBERS):
            asking, answering = (in_batch(each, B, len(rows) // B) for each in (some, others))
            tokens = rows.index_select(0, answering.flatten()).view(*answering.shape, C)
            if group.padded is not None:
                tokens.masked_fill_(group.padded[:, None], 0.0)
            q, k, v = (split_heads(each, heads) for each in linear(tokens, *qkv).chunk(3, -1))
            q = q if group.own is None else q.index_select(2, group.own)
            y_GhNd = F.scaled_dot_product_attention(q, k, v, added)
            y = linear(join_heads(y_GhNd).flatten(0, 1), *proj)
            mixed.index_copy_(0, asking.flatten(), y.to(mixed.dtype))  # autocast may have made it narrower
    return mixed.view(*x.shape[:-1], -1)
