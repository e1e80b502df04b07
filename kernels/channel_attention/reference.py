"""Attention between channels in plain PyTorch: the equation, the CPU path and the export path.

    S = t * (q / |q|)^T (k / |k|) between channels of the same head;  y = v f(S)^T

with norms over positions, and f what makes weights of scores (relu, softmax). The norms are divided out of the small
matrix, so that no normalised copy of q and k exists; y lies in memory channel by channel, where its sums are rows.
Shapes: L positions, C channels, h heads of d = C / h channels.
"""

import torch
from torch import Tensor

from ..heads import split_heads


def channel_scores(q: Tensor, k: Tensor, temperature: Tensor) -> Tensor:
    """Return S, (..., h, d, d), for q and k of shape (..., L, C) and temperature (h, 1, 1)."""
    heads = temperature.shape[0]
    wide = torch.promote_types(q.dtype, torch.float32)
    if q.dtype == torch.float16:
        # It cancels; but without it the sums over the positions of a photograph exceed what this type can hold.
        shrink = float(q.shape[-2]) ** -0.5
        q, k = q * shrink, k * shrink
    rows, columns = _norms(q, wide).unflatten(-1, (heads, -1)), _norms(k, wide).unflatten(-1, (heads, -1))
    products = torch.matmul(split_heads(q, heads).transpose(-2, -1), split_heads(k, heads))
    return products / (rows.unsqueeze(-1) * columns.unsqueeze(-2)) * temperature


def mix_channels(weights: Tensor, v: Tensor) -> Tensor:
    """Return (..., L, C), each channel the sum of its head's by weights (..., h, d, d), for v of shape (..., L, C)."""
    channels = v.transpose(-2, -1).unflatten(-2, (weights.shape[-3], -1))
    return torch.matmul(weights.to(v.dtype), channels).flatten(-3, -2).transpose(-2, -1)


def _norms(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the norm of each channel over the positions, (..., C), at least 1e-12."""
    return x.to(dtype).square().sum(-2).clamp_min(1e-24).sqrt()
