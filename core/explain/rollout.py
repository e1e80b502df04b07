"""Attention rollout: how attention passes through the layers of a network.

Abnar and Zuidema 2020: "Quantifying Attention Flow in Transformers", arXiv 2005.00928, sec. 3.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def rollout(maps: Iterable[Tensor], residual: float = 0.5) -> Tensor:
    """Return how much each token after the last layer is made of each before the first, (B, N, N); rows add up to 1.

    Each layer's map, the mean of its heads, is mixed with the identity for the residual connection around it, its rows
    are made to add up to 1 again, and the layers are multiplied. It knows nothing of what is decided in the end.

    Args:
        maps: (B, heads, N, N) or (B, N, N) of each layer, queries before keys, the first layer first.
        residual: share of the identity, 0..1.

    Raises:
        ValueError: no maps, or maps of different resolutions, or a residual out of its range.
    """
    if not 0 <= residual <= 1:
        raise ValueError(f"residual must lie in 0..1, not {residual}")
    joined: Tensor | None = None
    for layer in maps:
        mean = layer.mean(1) if layer.dim() == 4 else layer
        own = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
        mixed = residual * own + (1 - residual) * mean
        mixed = mixed / mixed.sum(-1, keepdim=True).clamp(min=torch.finfo(mixed.dtype).tiny)
        if joined is not None and joined.shape != mixed.shape:
            raise ValueError(f"maps of {joined.shape[-1]} and {mixed.shape[-1]} tokens; give layers of one resolution")
        joined = mixed if joined is None else mixed @ joined
    if joined is None:
        raise ValueError("give the map of one layer at least")
    return joined
