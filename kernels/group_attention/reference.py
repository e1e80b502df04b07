"""Attention of listed queries to listed keys in plain PyTorch, some groups after others: the equation and its gradient.

    S = Q K^T / sqrt(d) + bias + penalty;  P = softmax(S) over keys;  O = P V

    backward, with dO given and P kept, or made again where there is much of it:
    dV = P^T dO;  dP = dO V^T;  dS = P (dP - rowsum(dO O));  dQ = dS K / sqrt(d);  dK = dS^T Q / sqrt(d);
    dbias = sum of dS over the groups

Shapes: B batch, N tokens, h heads, d channels of a head, G groups at once with those of all samples, n queries, m keys.
Source of the backward pass without the map: Dao et al. 2022, FlashAttention, arXiv 2205.14135, appendix B.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .groups import Group

SCORES = 2**17  # of the groups at once; so many numbers stay in a processor's cache
KEPT = 2**23  # numbers of P that are kept for the backward pass, where there are no more: making them takes time


def group_attention_forward(
    qkv: Tensor,
    bias: Tensor | None,
    fill: Tensor | None,
    groups: Sequence[Group],
    kept: list[Tensor] | None = None,
) -> Tensor:
    """Return O (B, N, h, d) for qkv (B, N, 3, h, d), bias (h, T) and fill (3, h, d); put every P into `kept` if any."""
    B, N, _, h, d = qkv.shape
    rows = qkv.reshape(B * N, 3 * h * d)
    mixed = qkv.new_empty(B * N, h * d)
    for group in groups:
        added = added_scores(group, bias, qkv.dtype)
        for asking, answering in _chunks(group, B, N, h):
            q, k, v = _gathered(rows, fill, group, asking, answering, (h, d))
            if kept is None:
                y_GhNd = F.scaled_dot_product_attention(q, k, v, added)
            else:
                kept.append(_weights((q * d**-0.5).flatten(0, 1), k.flatten(0, 1), added))
                y_GhNd = torch.bmm(kept[-1], v.flatten(0, 1)).view(q.shape)
            y = y_GhNd.transpose(1, 2).reshape(-1, h * d)
            mixed.index_copy_(0, asking.flatten(), y.to(mixed.dtype))  # autocast may have made it narrower
    return mixed.view(B, N, h, d)


def group_attention_gradients(
    qkv: Tensor,
    bias: Tensor | None,
    fill: Tensor | None,
    groups: Sequence[Group],
    mixed: Tensor,
    grad: Tensor,
    kept: Iterable[Tensor] = (),
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of qkv, bias and fill for that of O, (B, N, h, d); `kept` by the forward pass."""
    B, N, _, h, d = qkv.shape
    rows, outputs, grads = qkv.reshape(B * N, 3 * h * d), mixed.reshape(B * N, h * d), grad.reshape(B * N, h * d)
    grad_rows = qkv.new_zeros(B * N * 3, h * d)  # whole rows, as sums into parts of rows are slow
    key_and_value = torch.arange(1, 3, dtype=torch.int32, device=qkv.device)
    grad_bias = None if bias is None else torch.zeros_like(bias)
    grad_fill = None if fill is None else torch.zeros_like(fill)
    shares = iter(kept)
    for group in groups:
        added = added_scores(group, bias, qkv.dtype)
        grad_pairs = None if bias is None else bias.new_zeros(h, group.queries.shape[1], group.keys.shape[1])
        for asking, answering in _chunks(group, B, N, h):
            q, k, v = (each.flatten(0, 1) for each in _gathered(rows, fill, group, asking, answering, (h, d)))
            o, do = (_heads(each.index_select(0, asking.flatten()), asking, h) for each in (outputs, grads))
            q = q * d**-0.5
            weights = next(shares, None)
            weights = _weights(q, k, added) if weights is None else weights
            grad_scores = torch.bmm(do, v.mT).sub_((o * do).sum(-1, keepdim=True)).mul_(weights)
            dk, dv = torch.bmm(grad_scores.mT, q), torch.bmm(weights.mT, do)
            dkv = torch.stack([_tokens(dk, h), _tokens(dv, h)], 2)  # (G, m, 2, h, d)
            if group.padded is not None:
                if grad_fill is not None:
                    grad_fill[1:] += dkv[:, group.padded].sum((0, 1))
                dkv.masked_fill_(group.padded[:, None, None, None], 0.0)
            grad_rows.index_add_(0, (answering.view(-1, 1) * 3 + key_and_value).flatten(), dkv.view(-1, h * d))
            dq = _tokens(torch.bmm(grad_scores, k).mul_(d**-0.5), h)
            grad_rows.index_copy_(0, asking.flatten() * 3, dq.reshape(-1, h * d))
            if grad_pairs is not None:
                grad_pairs += grad_scores.view(-1, *grad_pairs.shape).sum(0)
        if grad_bias is not None and grad_pairs is not None:
            _add_pairs(grad_bias, grad_pairs, group.pairs)
    return grad_rows.view(qkv.shape), grad_bias, grad_fill


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
    if B == 1:
        return tokens.long()
    return (torch.arange(B, device=tokens.device)[:, None, None] * N + tokens).flatten(0, 1)


def _chunks(group: Group, B: int, N: int, h: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Give the queries and keys of some groups of all samples at a time."""
    for some, others in group.chunks(B * h * group.queries.shape[1] * group.keys.shape[1], SCORES):
        yield in_batch(some, B, N), in_batch(others, B, N)


def _weights(q: Tensor, k: Tensor, added: Tensor | None) -> Tensor:
    """Return P (G * h, n, m) for scaled q (G * h, n, d), k (G * h, m, d) and what is added, (1, h or 1, n, m)."""
    scores = torch.bmm(q, k.mT)
    if added is not None:
        scores.view(-1, *added.shape[1:]).add_(added)
    return torch.softmax(scores, -1, out=scores)


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
        pairs = sum(group.queries.numel() * group.keys.shape[1] for group in groups)
        kept: list[Tensor] | None = [] if qkv.shape[0] * qkv.shape[3] * pairs <= KEPT else None
        with torch.autocast(qkv.device.type, enabled=False):
            mixed = group_attention_forward(qkv, bias, fill, groups, kept)
        ctx.groups = groups
        ctx.save_for_backward(qkv, bias, fill, mixed, *(kept or ()))
        return mixed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients for the output's gradient (B, N, h, d)."""
        qkv, bias, fill, mixed, *kept = ctx.saved_tensors
        with torch.autocast(qkv.device.type, enabled=False):
            return *group_attention_gradients(qkv, bias, fill, ctx.groups, mixed, grad, kept), None
