"""Attention between channels in plain PyTorch: the equation, the CPU path and the export path.

    S = t * (q / |q|)^T (k / |k|) between channels of the same head;  y = v f(S)^T

with norms over positions, and f what makes weights of scores (relu, softmax). The norms are divided out of the small
matrix, so that no normalised copy of q and k exists. Where there are few channels, one product between all of them, of
which the heads' blocks are kept, is faster than one narrow product per head.
Shapes: L positions, C channels, h heads of d = C / h channels.
"""

import torch
from torch import Tensor

from ..heads import join_heads, split_heads


def channel_scores(q: Tensor, k: Tensor, temperature: Tensor) -> Tensor:
    """Return S, (..., h, d, d), for q and k of shape (..., L, C) and temperature (h, 1, 1)."""
    heads = temperature.shape[0]
    wide = torch.promote_types(q.dtype, torch.float32)
    if q.dtype == torch.float16:
        # It cancels; but without it the sums over the positions of a photograph exceed what this type can hold.
        shrink = float(q.shape[-2]) ** -0.5
        q, k = q * shrink, k * shrink
    norm_q = torch.linalg.vector_norm(q, dim=-2, dtype=wide).clamp_min(1e-12)
    norm_k = torch.linalg.vector_norm(k, dim=-2, dtype=wide).clamp_min(1e-12)
    rows, columns = norm_q.unflatten(-1, (heads, -1)), norm_k.unflatten(-1, (heads, -1))
    if _are_many(q):
        products = torch.matmul(split_heads(q, heads).transpose(-2, -1), split_heads(k, heads))
    else:
        between_all = torch.matmul(q.transpose(-2, -1), k).unflatten(-1, (heads, -1)).unflatten(-3, (heads, -1))
        products = (between_all * _same_head(heads, q)).sum(-2)
    return products / (rows.unsqueeze(-1) * columns.unsqueeze(-2)) * temperature


def mix_channels(weights: Tensor, v: Tensor) -> Tensor:
    """Return (..., L, C), each channel the sum of its head's by weights (..., h, d, d), for v of shape (..., L, C)."""
    heads, weights = weights.shape[-3], weights.to(v.dtype)
    if _are_many(v):
        return join_heads(torch.matmul(split_heads(v, heads), weights.transpose(-2, -1)))
    between_all = (weights.unsqueeze(-2) * _same_head(heads, v)).flatten(-2).flatten(-3, -2)
    return torch.matmul(v, between_all.transpose(-2, -1))


def _are_many(x: Tensor) -> bool:
    """Tell whether one product between all channels costs more than the heads' own."""
    return x.shape[-1] > 96


def _same_head(heads: int, like: Tensor) -> Tensor:
    """Return (h, 1, h, 1), 1 where the two heads are the same."""
    return torch.eye(heads, dtype=like.dtype, device=like.device)[:, None, :, None]
