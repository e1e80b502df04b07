"""Attention between positions as Triton kernels: the map of all pairs exists only in blocks.

Scores are made again for each part of the values' channels, and in the backward pass from the logarithms of the sums
that the forward pass leaves. Source: Dao et al. 2022, FlashAttention, arXiv 2205.14135; `reference` has the equations.

Shapes: B batch, N positions, K channels of queries and keys, C channels of values.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..blocks import load, store
from ..launch import launch, needs_wide, operator, precision, width

ROWS = {2: 64, 4: 32, 8: 32}
"""Positions of a block, of queries and of keys, by the bytes of a sample: exact products of float32 need registers."""
MOST_CHANNELS = {2: 64, 4: 32, 8: 32}
"""Of the values that a program holds at once, likewise."""
WIDEST = 128
"""Channels of queries and keys that fit into a program."""
LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def forward_kernel(
    q, k, v, out, sums, N, K, C,
    R: tl.constexpr, BK: tl.constexpr, BC: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One block of queries, one part of the channels."""
    block, part, image = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    rows, narrow, channels = block * R + tl.arange(0, R), tl.arange(0, BK), part * BC + tl.arange(0, BC)
    queries = load(q + image * N * K, rows, narrow, N, K, K, WIDE)
    highest = tl.full([R], float("-inf"), tl.float32)
    total = tl.zeros([R], tl.float32)
    mixed = tl.zeros([R, BC], tl.float32)
    for start in range(0, N, R):
        keys_at = start + tl.arange(0, R)
        keys = load(k + image * N * K, keys_at, narrow, N, K, K, WIDE)
        scores = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * LOG2_E
        scores = tl.where((keys_at < N)[None, :], scores, float("-inf"))
        higher = tl.maximum(highest, tl.max(scores, 1))
        weights, shrink = tl.exp2(scores - higher[:, None]), tl.exp2(highest - higher)
        values = load(v + image * N * C, keys_at, channels, N, C, C, WIDE)
        mixed = tl.dot(weights.to(values.dtype), values, mixed * shrink[:, None], input_precision=PRECISION)
        total = total * shrink + tl.sum(weights, 1)
        highest = higher
    store(out + image * N * C, mixed / total[:, None], rows, channels, N, C, C)
    if part == 0:
        tl.store(sums + image * N + rows, highest + tl.log2(total), mask=rows < N)


@triton.jit
def weights_of(queries, keys, sums, keys_at, N, PRECISION: tl.constexpr):
    """Return a block of the map: the weight of each key for each query."""
    scores = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * LOG2_E
    return tl.where((keys_at < N)[None, :], tl.exp2(scores - sums[:, None]), 0.0)


@triton.jit
def query_gradient_kernel(
    q, k, v, grad, sums, inner, grad_q, N, K, C,
    R: tl.constexpr, BK: tl.constexpr, BC: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One block of queries."""
    block, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    rows, narrow = block * R + tl.arange(0, R), tl.arange(0, BK)
    queries = load(q + image * N * K, rows, narrow, N, K, K, WIDE)
    lse = tl.load(sums + image * N + rows, mask=rows < N, other=0.0)
    own = tl.load(inner + image * N + rows, mask=rows < N, other=0.0)
    total = tl.zeros([R, BK], tl.float32)
    for start in range(0, N, R):
        keys_at = start + tl.arange(0, R)
        keys = load(k + image * N * K, keys_at, narrow, N, K, K, WIDE)
        weights = weights_of(queries, keys, lse, keys_at, N, PRECISION)
        grad_weights = tl.zeros([R, R], tl.float32)
        for first in range(0, C, BC):
            channels = first + tl.arange(0, BC)
            values = load(v + image * N * C, keys_at, channels, N, C, C, WIDE)
            grads = load(grad + image * N * C, rows, channels, N, C, C, WIDE)
            grad_weights = tl.dot(grads, tl.trans(values), grad_weights, input_precision=PRECISION)
        grad_scores = weights * (grad_weights - own[:, None])
        total = tl.dot(grad_scores.to(keys.dtype), keys, total, input_precision=PRECISION)
    store(grad_q + image * N * K, total, rows, narrow, N, K, K)


@triton.jit
def key_gradient_kernel(
    q, k, v, grad, sums, inner, grad_k, N, K, C,
    R: tl.constexpr, BK: tl.constexpr, BC: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One block of keys."""
    block, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    keys_at, narrow = block * R + tl.arange(0, R), tl.arange(0, BK)
    keys = load(k + image * N * K, keys_at, narrow, N, K, K, WIDE)
    total = tl.zeros([R, BK], tl.float32)
    for start in range(0, N, R):
        rows = start + tl.arange(0, R)
        queries = load(q + image * N * K, rows, narrow, N, K, K, WIDE)
        lse = tl.load(sums + image * N + rows, mask=rows < N, other=float("inf"))
        own = tl.load(inner + image * N + rows, mask=rows < N, other=0.0)
        weights = weights_of(queries, keys, lse, keys_at, N, PRECISION)
        grad_weights = tl.zeros([R, R], tl.float32)
        for first in range(0, C, BC):
            channels = first + tl.arange(0, BC)
            values = load(v + image * N * C, keys_at, channels, N, C, C, WIDE)
            grads = load(grad + image * N * C, rows, channels, N, C, C, WIDE)
            grad_weights = tl.dot(grads, tl.trans(values), grad_weights, input_precision=PRECISION)
        grad_scores = weights * (grad_weights - own[:, None])
        total = tl.dot(tl.trans(grad_scores).to(queries.dtype), queries, total, input_precision=PRECISION)
    store(grad_k + image * N * K, total, keys_at, narrow, N, K, K)


@triton.jit
def value_gradient_kernel(
    q, k, grad, sums, grad_v, N, K, C,
    R: tl.constexpr, BK: tl.constexpr, BC: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One block of keys, one part of the channels."""
    block, part, image = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    keys_at, narrow, channels = block * R + tl.arange(0, R), tl.arange(0, BK), part * BC + tl.arange(0, BC)
    keys = load(k + image * N * K, keys_at, narrow, N, K, K, WIDE)
    total = tl.zeros([R, BC], tl.float32)
    for start in range(0, N, R):
        rows = start + tl.arange(0, R)
        queries = load(q + image * N * K, rows, narrow, N, K, K, WIDE)
        lse = tl.load(sums + image * N + rows, mask=rows < N, other=float("inf"))
        grads = load(grad + image * N * C, rows, channels, N, C, C, WIDE)
        weights = weights_of(queries, keys, lse, keys_at, N, PRECISION)
        total = tl.dot(tl.trans(weights).to(grads.dtype), grads, total, input_precision=PRECISION)
    store(grad_v + image * N * C, total, keys_at, channels, N, C, C)


def obstacle(q: Tensor, v: Tensor) -> str:
    """Say why the kernels cannot take these operands; "" if they can."""
    return f"queries of {q.shape[2]} channels do not fit, at most {WIDEST} do" if q.shape[2] > WIDEST else ""


def _constants(q: Tensor, v: Tensor) -> dict[str, Any]:
    channels = min(MOST_CHANNELS[v.itemsize], width(v.shape[2]))
    blocks = {"R": ROWS[v.itemsize], "BK": width(q.shape[2]), "BC": channels}
    return blocks | {"PRECISION": precision(q), "WIDE": needs_wide(q), "num_warps": 4, "num_stages": 2}


def _fake(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return v.new_empty(v.shape), v.new_empty(v.shape[:2], dtype=torch.float32)


@operator("position_attention", _fake)
def position_attention(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mixed values (B, N, C), and base-2 logarithms of the sums of exponentials (B, N), float32.

    Args:
        q: (B, N, K), K at most `WIDEST`.
        k: (B, N, K).
        v: (B, N, C).
    """
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    out, sums = _fake(q, k, v)
    (B, N, C), K, constants = v.shape, q.shape[2], _constants(q, v)
    grid = (triton.cdiv(N, constants["R"]), triton.cdiv(C, constants["BC"]), B)
    launch(forward_kernel, grid, q, k, v, out, sums, N, K, C, **constants)
    return out, sums


def _fake_backward(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, sums: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


@operator("position_attention_backward", _fake_backward)
def position_attention_backward(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, sums: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v for that of the output."""
    q, k, v, grad = q.contiguous(), k.contiguous(), v.contiguous(), grad.contiguous()
    grad_q, grad_k, grad_v = _fake_backward(q, k, v, out, sums, grad)
    inner = (grad.float() * out.float()).sum(-1)
    (B, N, C), K, constants = v.shape, q.shape[2], _constants(q, v)
    blocks, parts = triton.cdiv(N, constants["R"]), triton.cdiv(C, constants["BC"])
    launch(query_gradient_kernel, (blocks, B), q, k, v, grad, sums, inner, grad_q, N, K, C, **constants)
    launch(key_gradient_kernel, (blocks, B), q, k, v, grad, sums, inner, grad_k, N, K, C, **constants)
    launch(value_gradient_kernel, (blocks, parts, B), q, k, grad, sums, grad_v, N, K, C, **constants)
    return grad_q, grad_k, grad_v


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs, *output)


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return position_attention_backward(*ctx.saved_tensors, grad)


position_attention.register_autograd(_backward, setup_context=_save)
