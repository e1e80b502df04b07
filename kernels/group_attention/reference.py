"""Attention of listed queries to listed keys in plain PyTorch, some groups after others: the equation and its gradient.

    S = Q K^T / sqrt(d) + bias + penalty;  P = softmax(S) over keys;  O = P V

    backward, with dO given and P made again:
    dV = P^T dO;  dP = dO V^T;  dS = P (dP - rowsum(dO O));  dQ = dS K / sqrt(d);  dK = dS^T Q / sqrt(d);
    dbias = sum of dS over the groups

Shapes: B batch, N tokens, h heads, d channels of a head, G groups at once with those of all samples, n queries, m keys.
Source of the backward pass without the map: Dao et al. 2022, FlashAttention, arXiv 2205.14135, appendix B.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .groups import Group

SCORES = 2**17  # of the groups at once; so many numbers stay in a processor's cache


def group_attention_forward(qkv: Tensor, bias: Tensor | None, fill: Tensor | None, groups: Sequence[Group]) -> Tensor:
    """Return O (B, N, h, d) for qkv (B, N, 3, h, d), bias (h, T) and fill (3, h, d)."""
    B, N, _, h, d = qkv.shape
    rows = qkv.reshape(B * N, 3 * h * d)
    mixed = qkv.new_empty(B * N, h * d)
    for group in groups:
        added = added_scores(group, bias, qkv.dtype)
        for some, others in group.chunks(B * h * group.queries.shape[1] * group.keys.shape[1], SCORES):
            asking, answering = in_batch(some, B, N), in_batch(others, B, N)
            q, k, v = _gathered(rows, fill, group, asking, answering, (h, d))
            y_GhNd = F.scaled_dot_product_attention(q, k, v, added)
            mixed.index_copy_(0, asking.flatten(), y_GhNd.transpose(1, 2).reshape(-1, h * d))
    return mixed.view(B, N, h, d)


def group_attention_gradients(
    qkv: Tensor, bias: Tensor | None, fill: Tensor | None, groups: Sequence[Group], mixed: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of qkv, bias and fill for the gradient of O, (B, N, h, d)."""
    B, N, _, h, d = qkv.shape
    rows, outputs, grads = qkv.reshape(B * N, 3 * h * d), mixed.reshape(B * N, h * d), grad.reshape(B * N, h * d)
    grad_q, grad_kv = torch.empty_like(outputs), qkv.new_zeros(B * N, 2 * h * d)
    grad_bias = None if bias is None else torch.zeros_like(bias)
    grad_fill = None if fill is None else torch.zeros_like(fill)
    for group in groups:
        added = added_scores(group, bias, qkv.dtype)
        grad_pairs = None if bias is None else bias.new_zeros(h, group.queries.shape[1], group.keys.shape[1])
        for some, others in group.chunks(B * h * group.queries.shape[1] * group.keys.shape[1], SCORES):
            asking, answering = in_batch(some, B, N), in_batch(others, B, N)
            q, k, v = (each.flatten(0, 1) for each in _gathered(rows, fill, group, asking, answering, (h, d)))
            o, do = (_heads(each.index_select(0, asking.flatten()), asking, h) for each in (outputs, grads))
            weights = torch.bmm(q * d**-0.5, k.mT).view(-1, h, q.shape[1], k.shape[1])
            weights = weights if added is None else weights.add_(added)
            weights = torch.softmax(weights, -1, out=weights).flatten(0, 1)
            inner = (o * do).sum(-1, keepdim=True)
            grad_scores = torch.bmm(do, v.mT).sub_(inner).mul_(weights)
            dq, dk = torch.bmm(grad_scores, k).mul_(d**-0.5), torch.bmm(grad_scores.mT, q).mul_(d**-0.5)
            dkv = torch.stack([_tokens(dk, h), _tokens(torch.bmm(weights.mT, do), h)], 2)  # (G, m, 2, h, d)
            if group.padded is not None:
                if grad_fill is not None:
                    grad_fill[1:] += dkv[:, group.padded].sum((0, 1))
                dkv.masked_fill_(group.padded[:, None, None, None], 0.0)
            grad_q.index_copy_(0, asking.flatten(), _tokens(dq, h).reshape(-1, h * d))
            grad_kv.index_add_(0, answering.flatten(), dkv.view(-1, 2 * h * d))
            if grad_pairs is not None:
                grad_pairs += grad_scores.view(-1, *grad_pairs.shape).sum(0)
        if grad_bias is not None and grad_pairs is not None:
            _add_pairs(grad_bias, grad_pairs, group.pairs)
    grad_qkv = torch.cat([grad_q.view(B, N, 1, h, d), grad_kv.view(B, N, 2, h, d)], 2)
    return grad_qkv, grad_bias, grad_fill


def added_scores(group: Group, table: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Return what is added to the scores of a group, (1, h or 1, n, m), or None.

    Args:
        group: that says which parts of the table are its own.
        table: (h, T), or None. PyTorch's fused attention takes no bias that wants a gradient, even where none is
            computed: this one has none.
        dtype: of the result.
    """
    penalty = None if group.penalty is None else group.penalty.to(dtype)[None, None]
    if table is None:
        return penalty
    own = table.detach() if group.pairs is None else table.detach().index_select(1, group.pairs.flatten())
    bias = own.view(1, -1, group.queries.shape[1], group.keys.shape[1])
    return bias if penalty is None else bias + penalty


def in_batch(tokens: Tensor, B: int, N: int) -> Tensor:
    """Return the numbers of a map's tokens in all maps of a batch: (G, n) -> (B * G, n)."""
    return (torch.arange(B, device=tokens.device)[:, None, None] * N + tokens).flatten(0, 1)


def _gathered(
    rows: Tensor, fill: Tensor | None, group: Group, asking: Tensor, answering: Tensor, shape: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the queries, keys and values of some groups, (G, h, n or m, d) each."""
    if group.queries is group.keys:
        q, k, v = rows.index_select(0, answering.flatten()).view(*answering.shape, 3, *shape).permute(2, 0, 3, 1, 4)
        return q, k, v
    width = shape[0] * shape[1]
    q = rows[:, :width].index_select(0, asking.flatten()).view(*asking.shape, *shape).transpose(1, 2)
    kv = rows[:, width:].index_select(0, answering.flatten()).view(*answering.shape, 2, *shape)
    if group.padded is not None:
        zeros_or_fill = kv.new_zeros(2, *shape) if fill is None else fill[1:]
        kv = torch.where(group.padded[:, None, None, None], zeros_or_fill, kv)
    return q, kv[:, :, 0].transpose(1, 2), kv[:, :, 1].transpose(1, 2)


def _heads(rows: Tensor, tokens: Tensor, h: int) -> Tensor:
    """Cut rows of all heads into those of each: (G * n, h * d) -> (G * h, n, d)."""
    return rows.view(*tokens.shape, h, -1).transpose(1, 2).flatten(0, 1)


def _tokens(heads: Tensor, h: int) -> Tensor:
    """Put the heads of tokens side by side: (G * h, n, d) -> (G, n, h, d)."""
    return heads.unflatten(0, (-1, h)).transpose(1, 2)


def _add_pairs(grad_bias: Tensor, grad_pairs: Tensor, pairs: Tensor | None) -> None:
    if pairs is None:
        grad_bias += grad_pairs.view_as(grad_bias)
    else:
        grad_bias.scatter_add_(1, pairs.long().flatten().expand(grad_bias.shape[0], -1), grad_pairs.flatten(1))


class GroupAttention(torch.autograd.Function):
    """`group_attention_forward` with its gradient written out; autograd's own would keep every score."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor | None, fill: Tensor | None, groups: Sequence[Group]) -> Tensor:
        """Return (B, N, h, d), in the precision of the operands also where another is asked for automatically."""
        with torch.autocast(qkv.device.type, enabled=False):
            mixed = group_attention_forward(qkv, bias, fill, groups)
        ctx.groups = groups
        ctx.save_for_backward(qkv, bias, fill, mixed)
        return mixed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients for the output's gradient (B, N, h, d)."""
        qkv, bias, fill, mixed = ctx.saved_tensors
        with torch.autocast(qkv.device.type, enabled=False):
            return *group_attention_gradients(qkv, bias, fill, ctx.groups, mixed, grad), None
