"""Attention between the channels of a head instead of between positions: linear in the number of positions."""

from torch import Tensor

from . import reference


def channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """Mix channels by the ReLU of their cosine similarity.

    The sparse global self-attention of DLGSANet (Li et al. 2023, sec. 3.3). There is no softmax and no renormalisation:
    channels that point away from each other do not mix at all.

    Args:
        q: (..., L, C), C channels at L positions; the channels of a head are contiguous. Any strides.
        k: like `q`.
        v: like `q`.
        temperature: (heads, 1, 1), one learned scale per head; the number of heads divides C.

    Returns:
        (..., L, C) in the dtype of `v`.
    """
    return reference.channel_attention(q, k, v, temperature)


def channel_scores(q: Tensor, k: Tensor, temperature: Tensor) -> Tensor:
    """Compare the channels of each head by their cosine over the positions (El-Nouby et al. 2021, XCiT, eq. 3).

    Args:
        q: (..., L, C), C channels at L positions; the channels of a head are contiguous. Any strides.
        k: like `q`.
        temperature: (heads, 1, 1), what the cosines of each head are multiplied by; the number of heads divides C.

    Returns:
        (..., heads, C / heads, C / heads), queries before keys, in float32 at least.
    """
    return reference.channel_scores(q, k, temperature)


def mix_channels(weights: Tensor, v: Tensor) -> Tensor:
    """Sum the channels of each head by weights.

    Args:
        weights: (..., heads, C / heads, C / heads), what each channel (row) takes of each (column).
        v: (..., L, C), C channels at L positions; the channels of a head are contiguous. Any strides.

    Returns:
        (..., L, C) in the dtype of `v`.
    """
    return reference.mix_channels(weights, v)
