"""Gated attention over the instances of a bag in plain PyTorch: the equation, its gradient, the CPU and export path.

    z = h [V; U]^T + b,  s = (tanh(z_V) * sigmoid(z_U)) w^T + c,  y[k] = sum over n of softmax_n(s)[k, n] h[n]

(Ilse et al. 2018, arXiv 1802.04712, eq. 8 and 9). Some instances follow others, so that nothing of N x L exists whole
but the gates where a backward pass wants them: to make these again would take longer than the usual formulation does.
Shapes: N instances, C their channels, L hidden channels, K branches; V, U (L, C), w (K, L).
"""

from typing import Any

import torch
from torch import Tensor

from ..linear import linear, product, transposed_product

MASKED = -1e9
"""The score of a masked instance: finite, so that a bag that is masked as a whole still has equal shares."""
AT_ONCE = 2048
"""Instances whose gates exist at the same time on a CPU: few enough for its caches, and as fast as all at once."""


def gated_attention_pool(
    patches: Tensor,
    gates: Tensor,
    gates_bias: Tensor,
    score: Tensor,
    score_bias: Tensor,
    top_k: int,
    ranks: Tensor | None,
    at_once: int = AT_ONCE,
) -> tuple[Tensor, Tensor]:
    """Return what each branch pools (K, C), and its scores (K, N), masked where they are.

    Args:
        patches: (N, C).
        gates: (2L, C), V above U.
        gates_bias: (2L,).
        score: (K, L).
        score_bias: (K,).
        top_k: among how many of the highest scores `ranks` count.
        ranks: (K, m) of the scores that are masked, 0 the highest; None masks none.
        at_once: instances whose gates exist at the same time; 0 for all.
    """
    if at_once == 0:  # an exported graph wants one of any size
        scores = _scores(patches, gates, gates_bias, score, score_bias)
    else:  # written into what is there already: pieces that are kept would cut the memory between lots up
        scores = patches.new_empty(score.shape[0], patches.shape[0])
        for start in range(0, patches.shape[0], at_once):
            lot = patches[start : start + at_once]
            scores[:, start : start + at_once] = _scores(lot, gates, gates_bias, score, score_bias)
    if ranks is not None:
        scores = mask_ranks(scores, top_k, ranks)
    return pool(scores, patches), wide(scores)


def mask_ranks(scores: Tensor, top_k: int, ranks: Tensor, value: float = MASKED) -> Tensor:
    """Return the scores (..., N), in float32 at least, with a value at some ranks (..., m), 0 the highest."""
    return wide(scores).scatter(-1, ranked(scores, top_k, ranks), value)


def ranked(scores: Tensor, top_k: int, ranks: Tensor) -> Tensor:
    """Return which of the scores (..., N) have some ranks (..., m) among the highest: indices."""
    return scores.topk(min(top_k, scores.shape[-1]), dim=-1).indices.gather(-1, ranks)


def pool(scores: Tensor, patches: Tensor) -> Tensor:
    """Return the instances summed by the softmax of their scores: (..., N), (N, C) -> (..., C)."""
    shares = wide(scores).softmax(-1).to(patches.dtype)
    return (shares.flatten(0, -2) @ patches).view(shares.shape[:-1] + patches.shape[1:])


def wide(x: Tensor) -> Tensor:
    """Return the same in float32 at least, as many small numbers are summed."""
    return x.float() if x.dtype == torch.float16 or x.dtype == torch.bfloat16 else x


def _scores(patches: Tensor, gates: Tensor, gates_bias: Tensor, score: Tensor, score_bias: Tensor) -> Tensor:
    """Return s, (K, n), of instances (n, C)."""
    content, gate = linear(patches, gates, gates_bias).chunk(2, 1)
    gated = torch.tanh(content) * torch.sigmoid(gate)
    return torch.addmm(score_bias.unsqueeze(1), score, gated.t())


class GatedAttentionPool(torch.autograd.Function):
    """`gated_attention_pool` with its gradient written out, which keeps the gates and writes into what it returns."""

    @staticmethod
    def forward(
        ctx: Any,
        patches: Tensor,
        gates: Tensor,
        gates_bias: Tensor,
        score: Tensor,
        score_bias: Tensor,
        top_k: int,
        ranks: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return pooled instances and scores, see `gated_attention_pool`."""
        kept, scores = [], patches.new_empty(len(score), len(patches))
        with torch.autocast(patches.device.type, enabled=False):
            for lot, found in zip(patches.split(AT_ONCE), scores.split(AT_ONCE, 1), strict=True):
                kept.append(linear(lot, gates, gates_bias))
                content, gate = kept[-1].chunk(2, 1)
                found.copy_(torch.addmm(score_bias.unsqueeze(1), score, (content.tanh_() * gate.sigmoid_()).t()))
            scores = wide(scores) if ranks is None else mask_ranks(scores, top_k, ranks)
            pooled = pool(scores, patches)
        ctx.save_for_backward(patches, gates, score, pooled, scores, *kept)
        return pooled, scores

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_pooled: Tensor, grad_scores: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of instances, weights and biases for those of what is pooled and the scores."""
        patches, gates, score, pooled, scores, *kept = ctx.saved_tensors
        shares = scores.softmax(-1)
        mean = (wide(grad_pooled) * wide(pooled)).sum(1, keepdim=True)
        grad_patches = torch.empty_like(patches) if ctx.needs_input_grad[0] else None
        grad_gates, grad_gates_bias = torch.zeros_like(gates), gates.new_zeros(len(gates))
        grad_score, grad_score_bias = torch.zeros_like(score), wide(score).new_zeros(len(score))
        each = (shares, scores, grad_scores)
        for start, gated in zip(range(0, len(patches), AT_ONCE), kept, strict=True):
            lot = patches[start : start + AT_ONCE]
            share, found, grad_found = (x[:, start : start + AT_ONCE] for x in each)
            grad = wide(grad_pooled @ lot.t()).sub_(mean).mul_(share).add_(grad_found)
            grad = grad.masked_fill_(found == MASKED, 0)
            grad_score_bias += grad.sum(1)
            grad = grad.to(patches.dtype)
            content, gate = gated.chunk(2, 1)
            grad_score.addmm_(grad, content * gate)
            inner = _inner_gradient(grad.t() @ score, content, gate)
            grad_gates += transposed_product(inner, lot)
            grad_gates_bias += inner.sum(0)
            if grad_patches is not None:
                place = grad_patches[start : start + AT_ONCE]
                torch.addmm(product(inner, gates), share.t().to(patches.dtype), grad_pooled, out=place)
        return grad_patches, grad_gates, grad_gates_bias, grad_score, grad_score_bias.to(score.dtype), None, None


def _inner_gradient(grad: Tensor, content: Tensor, gate: Tensor) -> Tensor:
    """Return the gradient of z, (n, 2L), for that of the product of its gates (n, L)."""
    inner = torch.cat([grad * gate, grad.mul_(content)], 1)
    of_content, of_gate = inner.chunk(2, 1)
    torch.ops.aten.tanh_backward.grad_input(of_content, content, grad_input=of_content)
    torch.ops.aten.sigmoid_backward.grad_input(of_gate, gate, grad_input=of_gate)
    return inner
