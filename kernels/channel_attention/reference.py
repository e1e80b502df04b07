"""Attention between channels in plain PyTorch: the equation, the CPU path and the export path.

    A = relu(t * (q / |q|) (k / |k|)^T),  y = A v      with norms over positions, per head

The norms are divided out of the small c x c matrix, so that no normalised copy of q and k exists.
Shapes: B any leading axes, heads, c channels per head, L positions.
"""

import torch
from torch import Tensor


def channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """Return A v for q, k, v of shape (..., heads, c, L) and temperature (heads, 1, 1)."""
    norm_q = torch.linalg.vector_norm(q, dim=-1, keepdim=True).clamp_min(1e-12)
    norm_k = torch.linalg.vector_norm(k, dim=-1, keepdim=True).clamp_min(1e-12)
    gram = torch.matmul(q, k.transpose(-2, -1))
    weights = torch.relu(temperature * gram / (norm_q * norm_k.transpose(-2, -1)))
    return torch.matmul(weights, v)
