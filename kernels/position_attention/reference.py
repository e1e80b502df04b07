"""Attention between positions in plain PyTorch, some queries after others: the equation and the CPU path.

    P = softmax(Q K^T) over keys;  O = P V

    backward, with dO given and P made again:
    dV = P^T dO;  dP = dO V^T;  dS = P (dP - rowsum(dO O));  dQ = dS K;  dK = dS^T Q

Shapes: B batch, N positions, K channels of queries and keys, C channels of values.
Source of the backward pass without the map: Dao et al. 2022, FlashAttention, arXiv 2205.14135, appendix B.
"""

from typing import Any

import torch
from torch import Tensor

QUERIES = 256  # at once; their scores stay in a processor's cache for some thousands of positions


def are_few(x: Tensor) -> bool:
    """Tell whether the map of all pairs of (B, N, C) is a mebibyte at most, and quicker made than lots of queries."""
    return x.shape[1] <= 512


def whole(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return O (B, N, C) for q and k (B, N, K) and v (B, N, C), with the map of all pairs."""
    return torch.bmm(torch.softmax(torch.bmm(q, k.transpose(1, 2)), -1), v)


def position_attention(q: Tensor, k: Tensor, v: Tensor, at_once: int = QUERIES) -> Tensor:
    """Return O (B, N, C) for q and k (B, N, K) and v (B, N, C), so many queries at once."""
    keys, output = k.transpose(1, 2), torch.empty_like(v)
    for start in range(0, q.shape[1], at_once):
        weights = _exponentials(q[:, start : start + at_once], keys)
        output[:, start : start + at_once] = torch.bmm(weights, v) / weights.sum(dim=-1, keepdim=True)
    return output


def position_attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, output: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v for the gradient of the output, (B, N, C)."""
    grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for start in range(0, q.shape[1], QUERIES):
        part = slice(start, start + QUERIES)
        weights = _exponentials(q[:, part], k.mT)
        weights.div_(weights.sum(dim=-1, keepdim=True))
        grad_v.baddbmm_(weights.mT, grad[:, part])
        inner = (grad[:, part] * output[:, part]).sum(-1, keepdim=True)
        grad_scores = torch.bmm(grad[:, part], v.mT).sub_(inner).mul_(weights)
        grad_q[:, part] = torch.bmm(grad_scores, k)
        grad_k.baddbmm_(grad_scores.mT, q[:, part])
    return grad_q, grad_k, grad_v


def _exponentials(some: Tensor, keys: Tensor) -> Tensor:
    """Return the softmax of queries' scores before it is divided by its sum; in place, as each copy is large."""
    scores = torch.bmm(some, keys)
    return scores.sub_(scores.amax(dim=-1, keepdim=True)).exp_()


class PositionAttention(torch.autograd.Function):
    """`position_attention` with its gradient written out; autograd's own would keep the map of all pairs."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return (B, N, C), in the precision of the operands also where another is asked for automatically."""
        with torch.autocast(v.device.type, enabled=False):
            output = position_attention(q, k, v)
        ctx.save_for_backward(q, k, v, output)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of q, k and v for the output's gradient (B, N, C)."""
        with torch.autocast(grad.device.type, enabled=False):
            return position_attention_gradients(*ctx.saved_tensors, grad.contiguous())
