"""Gated attention over the instances of a bag: their scores, what is pooled by them, the masking of the strongest."""

import torch
from torch import Tensor

from ..backend import HAS_TRITON, runs_on_cpu, runs_on_triton
from . import reference

if HAS_TRITON:
    from . import triton

MASKED = reference.MASKED


def gated_attention_pool(
    patches: Tensor,
    gates: Tensor,
    gates_bias: Tensor,
    score: Tensor,
    score_bias: Tensor,
    top_k: int = 0,
    ranks: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Pool the instances of a bag by gated attention of several branches (Ilse et al. 2018, eq. 8 and 9).

    The strongest instances of a branch may be masked (Zhang et al. 2024, ACMIL, sec. 3.3): they are given as ranks, as
    a number that is drawn for a rank needs no scores. On a GPU it is Triton kernels, in which the gates of all
    instances never exist at once; on a CPU they do for the backward pass alone.

    Args:
        patches: (N, C), N from 1.
        gates: (2L, C), the weight of what is squashed by tanh above that by the sigmoid.
        gates_bias: (2L,).
        score: (K, L).
        score_bias: (K,).
        top_k: among how many of a branch's highest scores `ranks` count; min(top_k, N) in a smaller bag.
        ranks: (K, m) whole numbers below top_k, different ones in a row: of the scores that are masked, 0 the highest.

    Returns:
        What is pooled, (K, C) in the dtype of `patches`, and the scores before the softmax, (K, N) in float32 at least,
        of which those of masked instances are `MASKED`. Gradients of both reach everything but masked scores.
    """
    gates, score = gates.to(patches.dtype), score.to(patches.dtype)
    if torch.jit.is_scripting():
        biases = gates_bias.to(patches.dtype), score_bias.to(patches.dtype)
        return reference.gated_attention_pool(patches, gates, biases[0], score, biases[1], top_k, ranks)
    if HAS_TRITON and runs_on_triton("gated_attention_pool", patches, triton.obstacle(score)):
        biases = gates_bias.float(), score_bias.float()
        return triton.gated_attention_pool(patches, gates, biases[0], score, biases[1], top_k, ranks)[:2]
    biases = gates_bias.to(patches.dtype), score_bias.to(patches.dtype)
    operands = patches, gates, biases[0], score, biases[1], top_k, ranks
    if not runs_on_cpu(patches):  # many small steps cost time on a GPU, and an exported graph its freedom
        return reference.gated_attention_pool(*operands, 0)
    if torch.is_grad_enabled() and any(each.requires_grad for each in operands[:5]):
        return reference.GatedAttentionPool.apply(*operands)
    return reference.gated_attention_pool(*operands, reference.AT_ONCE)


def mask_ranks(scores: Tensor, top_k: int, ranks: Tensor) -> Tensor:
    """Mask scores by their ranks, each row by itself.

    Args:
        scores: (..., N).
        top_k: among how many of the highest scores of a row ranks count; min(top_k, N) of fewer.
        ranks: (..., m), 0 the highest; different ones in a row.

    Returns:
        The scores, (..., N), in float32 at least, as float16 cannot hold `MASKED`.
    """
    return reference.mask_ranks(scores, top_k, ranks)


def attention_pool(scores: Tensor, patches: Tensor) -> Tensor:
    """Return the instances summed by the softmax of their scores, in one pass for all: (..., N), (N, C) -> (..., C)."""
    return reference.pool(scores, patches)
