"""Softmax attention of the tokens of each region to all tokens of the regions that it is routed to."""

import torch
from torch import Tensor

from ..group_attention import Group, group_attention
from . import reference


def routed_attention(qkv: Tensor, qk_dim: int, heads: int, tokens_Rn: Tensor, routes_BRt: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v of each region; exact.

    On a CPU, where keys are as wide as values, some regions follow others, in the backward pass too: neither the scores
    nor the keys and values of all routes are ever held at once.

    Args:
        qkv: (B, N, 2 qk_dim + C), queries, keys and values of all tokens; the channels of a head side by side.
        qk_dim: channels of queries, and of keys.
        heads: of the attention; divides `qk_dim` and C.
        tokens_Rn: the numbers of the n tokens of each of R regions, every token in one of them.
        routes_BRt: the t regions that each is routed to.

    Returns:
        (B, N, C) in the dtype of `qkv`.
    """
    if torch.jit.is_scripting():
        return reference.routed_attention(qkv, qk_dim, heads, tokens_Rn, routes_BRt)
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if recorded or qkv.device.type != "cpu" or qkv.shape[2] != 3 * qk_dim:
        return reference.routed_attention(qkv, qk_dim, heads, tokens_Rn, routes_BRt)
    return _by_groups(qkv, heads, tokens_Rn, routes_BRt)


def _by_groups(qkv: Tensor, heads: int, tokens_Rn: Tensor, routes_BRt: Tensor) -> Tensor:
    B, N, _ = qkv.shape
    first = N * torch.arange(B)[:, None, None]
    queries = (first + tokens_Rn).flatten(0, 1)
    keys = (first[..., None] + tokens_Rn[routes_BRt]).flatten(0, 1).flatten(1)
    batch = qkv.reshape(1, B * N, 3, heads, -1)  # the maps of a batch are one, whose regions never meet
    return group_attention(batch, [Group(queries, keys)]).view(B, N, -1)
