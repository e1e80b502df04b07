"""Relevance of tokens by attention and its gradient, through self-attention and attention to another set of tokens.

Chefer, Gur, Wolf 2021: "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
Transformers", arXiv 2103.15679, sec. 3.1. Relevance R_sq of a set s of tokens from a set q, (B, S, Q), says how much
each token of s is made of each of q. At first a set is made of itself alone: R_ss = 1, R_sq = 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def contribution(weights: Tensor, gradient: Tensor) -> Tensor:
    """Return the mean over heads of (gradient x attention)^+, (B, h, S, Q) -> (B, S, Q) (eq. 5)."""
    return (gradient * weights).clamp(min=0).mean(1)


def self_relevance(maps: Iterable[Tensor]) -> Tensor:
    """Return the relevance of the tokens of a network of self-attention for one another, (B, N, N) (eq. 6).

    Args:
        maps: `contribution` of each layer, (B, N, N), the first layer first, as `relevance_maps` gives them.

    Raises:
        ValueError: no maps, or maps of different resolutions.
    """
    relevance: Tensor | None = None
    for each in maps:
        if relevance is None:
            relevance = torch.eye(each.shape[-1], dtype=each.dtype, device=each.device).expand_as(each)
        if relevance.shape != each.shape:
            raise ValueError(
                f"maps of {relevance.shape[-1]} and {each.shape[-1]} tokens; give layers of one resolution"
            )
        relevance = relevance + each @ relevance
    if relevance is None:
        raise ValueError("give the map of one layer at least")
    return relevance


def after_self_attention(r_ss: Tensor, r_sq: Tensor, map_ss: Tensor) -> tuple[Tensor, Tensor]:
    """Return R_ss and R_sq after the tokens of s have attended to one another (eq. 6 and 7).

    Args:
        r_ss: (B, S, S).
        r_sq: (B, S, Q).
        map_ss: `contribution` of the layer, (B, S, S).
    """
    return r_ss + map_ss @ r_ss, r_sq + map_ss @ r_sq


def after_cross_attention(
    r_ss: Tensor, r_sq: Tensor, r_qs: Tensor, r_qq: Tensor, map_sq: Tensor
) -> tuple[Tensor, Tensor]:
    """Return R_ss and R_sq after tokens of s have attended to those of q (eq. 10 and 11).

    For co-attention both sets are updated from what they were before. For a decoder s that attends to an encoder q,
    which never sees the decoder, r_qs is zero and R_ss stays as it is.

    Args:
        r_ss: (B, S, S).
        r_sq: (B, S, Q).
        r_qs: (B, Q, S).
        r_qq: (B, Q, Q).
        map_sq: `contribution` of the layer, (B, S, Q).
    """
    return r_ss + map_sq @ r_qs, r_sq + normalised(r_ss).mT @ map_sq @ normalised(r_qq)


def normalised(relevance: Tensor) -> Tensor:
    """Return 1 + what tokens are made of beside themselves, its rows adding up to 1 or 0 (eq. 8 and 9).

    Args:
        relevance: of a set for itself, (B, N, N).
    """
    own = torch.eye(relevance.shape[-1], dtype=relevance.dtype, device=relevance.device)
    others = relevance - own
    total = others.sum(-1, keepdim=True)
    return own + torch.where(total > 0, others / total.where(total > 0, torch.ones_like(total)), 0.0)
