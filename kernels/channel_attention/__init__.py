"""Attention between the channels of a head instead of between positions: linear in the number of positions."""

from torch import Tensor

from . import reference


def channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """Mix channels by the ReLU of their cosine similarity (Li et al. 2023, DLGSANet, sec. 3.3).

    There is no softmax and no renormalisation: channels that point away from each other do not mix at all.

    Args:
        q: (..., heads, c, L), c channels per head at L positions.
        k: like `q`.
        v: like `q`.
        temperature: (heads, 1, 1), one learned scale per head.

    Returns:
        (..., heads, c, L).
    """
    return reference.channel_attention(q, k, v, temperature)
