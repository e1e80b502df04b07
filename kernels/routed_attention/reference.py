"""Attention of regions to regions in plain PyTorch, for any widths: the equation, and what exports use.

    O = softmax(Q K^T / sqrt(d)) V    for the queries of a region and the keys of those that it is routed to

Shapes: B batch, N tokens, R regions of n tokens, t regions that one is routed to, h heads, d channels of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..heads import join_heads, split_heads


def routed_attention(qkv: Tensor, qk_dim: int, heads: int, tokens_Rn: Tensor, routes_BRt: Tensor) -> Tensor:
    """Return O (B, N, C) for qkv (B, N, 2 qk_dim + C)."""
    B, R, n = qkv.shape[0], tokens_Rn.shape[0], tokens_Rn.shape[1]
    order = tokens_Rn.flatten()
    regions = qkv.index_select(1, order).view(B * R, n, -1)
    first = R * torch.arange(B, device=qkv.device)[:, None, None]
    kv = regions[..., qk_dim:].index_select(0, (first + routes_BRt).flatten()).view(B * R, -1, qkv.shape[2] - qk_dim)
    parts = [regions[..., :qk_dim], kv[..., :qk_dim], kv[..., qk_dim:]]
    q, k, v = [split_heads(each, heads) for each in parts]
    mixed = join_heads(F.scaled_dot_product_attention(q, k, v)).reshape(B, R * n, -1)
    return mixed.index_select(1, order.argsort())
