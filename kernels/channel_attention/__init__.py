"""Attention between the channels of a head instead of between positions: linear in the number of positions."""

from math import prod

import torch
from torch import Tensor

from ..backend import HAS_TRITON, runs_on_triton
from . import reference

if HAS_TRITON:
    from . import triton


def channel_scores(q: Tensor, k: Tensor, temperature: Tensor) -> Tensor:
    """Compare the channels of each head by their cosine over the positions (El-Nouby et al. 2021, XCiT, eq. 3).

    On a GPU it is a Triton kernel, which reads queries and keys once.

    Args:
        q: (..., L, C), C channels at L positions; the channels of a head are contiguous. Any strides.
        k: like `q`.
        temperature: (heads, 1, 1), what the cosines of each head are multiplied by; the number of heads divides C.

    Returns:
        (..., heads, C / heads, C / heads), queries before keys, in float32 at least.
    """
    if torch.jit.is_scripting():
        return reference.channel_scores(q, k, temperature)
    heads = temperature.shape[0]
    if HAS_TRITON and runs_on_triton("channel_scores", q, triton.obstacle(q, heads)):
        cosines, _ = triton.channel_cosines(_images(q, 2), _images(k.to(q.dtype), 2), heads)
        return cosines.view(q.shape[:-2] + cosines.shape[1:]) * temperature
    return reference.channel_scores(q, k, temperature)


def mix_channels(weights: Tensor, v: Tensor) -> Tensor:
    """Sum the channels of each head by weights.

    On a GPU it is a Triton kernel, which reads the values once.

    Args:
        weights: (..., heads, C / heads, C / heads), what each channel (row) takes of each (column).
        v: (..., L, C), C channels at L positions; the channels of a head are contiguous. Any strides.

    Returns:
        (..., L, C) in the dtype of `v`.
    """
    if torch.jit.is_scripting():
        return reference.mix_channels(weights, v)
    if HAS_TRITON and runs_on_triton("mix_channels", v, triton.obstacle(v, weights.shape[-3])):
        return triton.mix_channels(_images(weights, 3), _images(v, 2)).view(v.shape)
    return reference.mix_channels(weights, v)


def _images(x: Tensor, kept: int) -> Tensor:
    """Make all axes but the last ones one."""
    return x.reshape(prod(x.shape[:-kept]), *x.shape[-kept:])
