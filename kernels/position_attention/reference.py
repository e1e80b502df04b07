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

from ..linear import linear, product, transposed_product

QUERIES = 256  # at once for each thread; their scores stay in a processor's cache for some thousands of positions


def are_few(x: Tensor) -> bool:
    """Tell whether the map of all pairs of (B, N, C) stays in a cache, and is quicker made than lots of queries."""
    return x.shape[1] <= (640 if x.shape[2] >= 64 else 1024)


def whole(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return O (B, M, C) for queries (B, M, K), keys (B, N, K) and values (B, N, C), with the map of all pairs."""
    return torch.bmm(torch.softmax(torch.bmm(q, k.transpose(1, 2)), -1), v)


def position_attention(q: Tensor, k: Tensor, v: Tensor, at_once: int = QUERIES) -> Tensor:
    """Return O (B, N, C) for q and k (B, N, K) and v (B, N, C), so many queries at once."""
    output = torch.empty_like(v)
    for b in range(q.shape[0]):  # products of two matrices are quicker than those of two batches
        keys, values = k[b].contiguous(), v[b].contiguous()
        for start in range(0, q.shape[1], at_once):
            weights = torch.softmax(linear(q[b, start : start + at_once], keys), -1)
            output[b, start : start + at_once] = product(weights, values)
    return output


def position_attention_gradients(
    q: Tensor, k: Tensor, v: Tensor, output: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v for the gradient of the output, (B, N, C)."""
    at_once = QUERIES * torch.get_num_threads()
    grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for b in range(q.shape[0]):
        keys, values = k[b].contiguous(), v[b].contiguous()
        for start in range(0, q.shape[1], at_once):
            part = slice(start, start + at_once)
            asking, given = q[b, part], grad[b, part]
            weights = torch.softmax(linear(asking, keys), -1)
            grad_v[b] += transposed_product(weights, given)
            inner = (given * output[b, part]).sum(-1, keepdim=True)
            grad_scores = linear(given, values).sub_(inner).mul_(weights)
            grad_q[b, part] = product(grad_scores, keys)
            grad_k[b] += transposed_product(grad_scores, asking)
    return grad_q, grad_k, grad_v


class PositionAttention(torch.autograd.Function):
    """`position_attention` with its gradient written out; autograd's own would keep the map of all pairs."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return (B, N, C), in the precision of the operands also where another is asked for automatically."""
        with torch.autocast(v.device.type, enabled=False):
            output = position_attention(q, k, v, QUERIES * torch.get_num_threads())
        ctx.save_for_backward(q, k, v, output)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of q, k and v for the output's gradient (B, N, C)."""
        with torch.autocast(grad.device.type, enabled=False):
            return position_attention_gradients(*ctx.saved_tensors, grad.contiguous())
