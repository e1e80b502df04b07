"""Attention between the channels of a head instead of between positions: linear in the number of positions."""

from torch import Tensor

from . import reference


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
