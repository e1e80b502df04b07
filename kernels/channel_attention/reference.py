"""Attention between channels in plain PyTorch: the equation, the CPU path and the export path.

    A = relu(t * (q / |q|)^T (k / |k|)) between channels of the same head, else 0;  y = v A^T

with norms over positions. They are divided out of the small C x C matrix, so that no normalised copy of q and k exists.
One product between all channels, of which the heads' blocks are kept, is faster than one narrow product per head.
Shapes: L positions, C channels, heads of C / heads channels.
"""

import torch
from torch import Tensor


def channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """Return v A^T for q, k, v of shape (..., L, C) and temperature (heads, 1, 1)."""
    heads, channels = temperature.shape[0], q.shape[-1]
    wide = torch.promote_types(q.dtype, torch.float32)
    if q.dtype == torch.float16:
        # It cancels; but without it the sums over the positions of a photograph exceed what this type can hold.
        shrink = float(q.shape[-2]) ** -0.5
        q, k = q * shrink, k * shrink
    norm_q = torch.linalg.vector_norm(q, dim=-2, dtype=wide).clamp_min(1e-12)
    norm_k = torch.linalg.vector_norm(k, dim=-2, dtype=wide).clamp_min(1e-12)
    cosine = torch.matmul(q.transpose(-2, -1), k) / (norm_q.unsqueeze(-1) * norm_k.unsqueeze(-2))
    same_head = torch.eye(heads, dtype=wide, device=q.device).repeat_interleave(channels // heads, 1)
    blocks = (temperature.flatten(1) * same_head).repeat_interleave(channels // heads, 0)
    return torch.matmul(v, torch.relu(cosine * blocks).to(v.dtype).transpose(-2, -1))
