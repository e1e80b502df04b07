"""Gated attention over the instances of a bag in plain PyTorch: the equation, its gradient, the CPU and export path.

    z = h [V; U]^T + b,  s = (tanh(z_V) * sigmoid(z_U)) w^T + c,  y[k] = sum over n of softmax_n(s)[k, n] h[n]

(Ilse et al. 2018, arXiv 1802.04712, eq. 8 and 9). Some instances follow others, so that nothing of N x L exists whole;
of very large bags the gates are made again for the backward pass.
Shapes: N instances, C their channels, L hidden channels, K branches; V, U (L, C), w (K, L).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

MASKED = -1e9
"""The score of a masked instance: finite, so that a bag that is masked as a whole still has equal shares."""
AT_ONCE = 4096
"""Instances whose gates exist at the same time on a CPU: few enough for its caches, and as fast as all at once."""
KEPT = 2**26
"""Gates that are kept for the backward pass on a CPU, where they are no more: to make them again takes up to a tenth
longer than to keep them, which with this many takes 0.4 GB in float32."""


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
    parts: list[Tensor] = []
    for lot in _lots(patches, 0, at_once):
        content, gate = _gates(lot, gates, gates_bias)
        parts.append(torch.addmm(score_bias.unsqueeze(1), score, (content * gate).t()))
    scores = torch.cat(parts, 1)
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


class GatedAttentionPool(torch.autograd.Function):
    """`gated_attention_pool` with its gradient written out, which keeps scores alone."""

    @staticmethod
    def forward(
        patches: Tensor,
        gates: Tensor,
        gates_bias: Tensor,
        score: Tensor,
        score_bias: Tensor,
        top_k: int,
        ranks: Tensor | None,
        at_once: int,
    ) -> tuple[Tensor, Tensor]:
        """Return pooled instances and scores, see `gated_attention_pool`."""
        return gated_attention_pool(patches, gates, gates_bias, score, score_bias, top_k, ranks, at_once)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep the operands and the results for the backward pass."""
        ctx.save_for_backward(*inputs[:4], *output)
        ctx.at_once = inputs[7]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_pooled: Tensor, grad_scores: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of instances, weights and biases for those of what is pooled and the scores."""
        patches, gates, gates_bias, score, pooled, scores = ctx.saved_tensors
        grad_pooled = grad_pooled.to(patches.dtype)  # which autocast may have chosen otherwise
        grad = score_gradient(patches, pooled, scores, grad_pooled, grad_scores, ctx.at_once)
        shares = scores.softmax(-1).to(patches.dtype)
        grad_patches = torch.empty_like(patches) if ctx.needs_input_grad[0] else patches[:, :0]
        grad_gates, grad_gates_bias = torch.zeros_like(gates), torch.zeros_like(gates_bias)
        grad_score = torch.zeros_like(score)
        operands = ((patches, 0), (grad_patches, 0), (grad, 1), (shares, 1))
        for lot, found, grads, taken in zip(*(_lots(*each, ctx.at_once) for each in operands), strict=True):
            content, gate = _gates(lot, gates, gates_bias)
            grad_score.addmm_(grads, content * gate)
            inner = _gates_gradient(grads.t() @ score, content, gate)
            grad_gates.addmm_(inner.t(), lot)
            grad_gates_bias += inner.sum(0)
            if ctx.needs_input_grad[0]:
                torch.mm(taken.t(), grad_pooled, out=found)
                found.addmm_(inner, gates)
        return (
            grad_patches if ctx.needs_input_grad[0] else None,
            grad_gates,
            grad_gates_bias,
            grad_score,
            grad.sum(1),
            None,
            None,
            None,
        )


def score_gradient(
    patches: Tensor, pooled: Tensor, scores: Tensor, grad_pooled: Tensor, grad_scores: Tensor, at_once: int
) -> Tensor:
    """Return the gradient of the scores (K, N), in the dtype of the instances; masked ones have none."""
    inner = (wide(grad_pooled) * wide(pooled)).sum(1, keepdim=True)
    along = wide(torch.cat([grad_pooled @ part.t() for part in _lots(patches, 0, at_once)], 1))
    grad = along.sub_(inner).mul_(scores.softmax(-1)).add_(grad_scores)
    return grad.masked_fill_(scores == MASKED, 0).to(patches.dtype)


def _lots(x: Tensor, dim: int, size: int) -> list[Tensor]:
    """Return parts of a size along a dimension; 0 is all, which an exported graph wants of any size."""
    return [x] if size == 0 else list(x.split(size, dim))


def _gates(patches: Tensor, gates: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return tanh(z_V) and sigmoid(z_U), (n, L) each, of instances (n, C)."""
    inner = F.linear(patches, gates, bias)
    half = gates.shape[0] // 2
    return torch.tanh(inner[:, :half]), torch.sigmoid(inner[:, half:])


def _gates_gradient(grad: Tensor, content: Tensor, gate: Tensor) -> Tensor:
    """Return the gradient of z, (n, 2L), for that of the product of its gates (n, L)."""
    return torch.cat([grad * gate * (1 - content.square()), grad * content * gate * (1 - gate)], 1)
