"""Attention between the channels of a head as Triton kernels: products over positions, and mixing by small matrices.

    P = q^T k;  S = P / (|q| |k|^T), rows by channels of q;  y = v A^T

    backward, with dS and dy given:
    dq = k (dS / |q| |k|^T)^T - q rowsum(dS S) / |q|^2;  dk = q (dS / |q| |k|^T) - k columnsum(dS S) / |k|^2
    dA = dy^T v;  dv = dy A

Every large operand is read once in its own layout, channels or positions neighbours in memory. A program sums over a
run of positions and keeps its sum for itself; the sums are added up in one order, so that results repeat bit by bit.
What makes weights A of cosines S acts on small matrices, and is PyTorch's. Source of the equation: El-Nouby et al.
2021, XCiT, arXiv 2106.09681, eq. 3; the gradients are its derivatives.

Shapes: B batch, L positions, C channels, h heads of d = C / h channels, G = B h, S runs of positions.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import launch, needs_wide, operator, precision, width

ROWS = {2: 128, 4: 32, 8: 32}
"""Positions of a block by the bytes of a sample: exact products of float32 need registers."""
WIDEST = {2: 64, 4: 32, 8: 32}
"""Channels of a head whose matrices fit into the registers of a program, likewise."""
PROGRAMS = 1024
"""That many keep a GPU busy."""
MOST_RUNS = 256
SUMS = 32
"""Sums of runs that are added up at once."""
LEAST_NORM = tl.constexpr(1e-12)


@triton.jit
def of_head(x, head, heads, d, by_image, by_channel):
    """Return where a head of an image begins."""
    return x + (head // heads).to(tl.int64) * by_image + (head % heads * d).to(tl.int64) * by_channel


@triton.jit
def places(rows, channels, L, d, by_row, by_channel):
    """Return the offsets of a block of positions and channels, and which of them exist."""
    offsets = rows[:, None].to(tl.int64) * by_row + channels[None, :].to(tl.int64) * by_channel
    return offsets, (rows < L)[:, None] & (channels < d)[None, :]


@triton.jit
def load(x, rows, channels, L, d, by_row, by_channel, WIDE: tl.constexpr):
    """Load a block of positions and channels, zero beyond their ends."""
    offsets, inside = places(rows, channels, L, d, by_row, by_channel)
    block = tl.load(x + offsets, mask=inside, other=0.0)
    return block.to(tl.float32) if WIDE else block


@triton.jit
def store(x, block, rows, channels, L, d, by_row, by_channel):
    """Store a block of positions and channels, but for what lies beyond their ends."""
    offsets, inside = places(rows, channels, L, d, by_row, by_channel)
    tl.store(x + offsets, block.to(x.dtype.element_ty), mask=inside)


@triton.jit
def load_matrix(x, head, channels, d):
    """Load the matrix of a head, (rows, columns)."""
    offsets, inside = places(channels, channels, d, d, d, 1)
    return tl.load(x + head.to(tl.int64) * d * d + offsets, mask=inside, other=0.0)


@triton.jit
def sum_of_squares(block):
    """Return the sum over positions for each channel."""
    wide = block.to(tl.float32)
    return tl.sum(wide * wide, 0)


@triton.jit
def products_kernel(
    q, k, products, squares, L, d, heads, run,
    q_image, q_row, q_channel, k_image, k_row, k_channel,
    R: tl.constexpr, D: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One head, one run of positions: the sums of products, and of squares, of which those of q come first."""
    head, part = tl.program_id(0), tl.program_id(1)
    mine = head.to(tl.int64) * tl.num_programs(1) + part
    q, k = of_head(q, head, heads, d, q_image, q_channel), of_head(k, head, heads, d, k_image, k_channel)
    channels = tl.arange(0, D)
    total = tl.zeros([D, D], tl.float32)
    squares_q, squares_k = tl.zeros([D], tl.float32), tl.zeros([D], tl.float32)
    for start in range(part * run, tl.minimum(part * run + run, L), R):
        rows = start + tl.arange(0, R)
        queries = load(q, rows, channels, L, d, q_row, q_channel, WIDE)
        keys = load(k, rows, channels, L, d, k_row, k_channel, WIDE)
        total = tl.dot(tl.trans(queries), keys, total, input_precision=PRECISION)
        squares_q += sum_of_squares(queries)
        squares_k += sum_of_squares(keys)
    store(products + mine * d * d, total, channels, channels, d, d, d, 1)
    tl.store(squares + mine * d + channels, squares_q, mask=channels < d)
    every = tl.num_programs(0).to(tl.int64) * tl.num_programs(1)
    tl.store(squares + (every + mine) * d + channels, squares_k, mask=channels < d)


@triton.jit
def divide_kernel(products, squares, cosines, norms, S, d, D: tl.constexpr, SUMS: tl.constexpr):
    """One channel of the queries of a head: its cosines with all channels of the keys, and the norms."""
    row, head = tl.program_id(0), tl.program_id(1)
    every = tl.num_programs(1).to(tl.int64)
    first = head.to(tl.int64) * S
    channels = tl.arange(0, D)
    total, squares_k = tl.zeros([D], tl.float32), tl.zeros([D], tl.float32)
    square_q = tl.zeros([1], tl.float32)
    for start in range(0, S, SUMS):
        runs = start + tl.arange(0, SUMS)
        inside = (runs < S)[:, None] & (channels < d)[None, :]
        places_of_rows = ((first + runs) * d + row)[:, None] * d + channels[None, :]
        total += tl.sum(tl.load(products + places_of_rows, mask=inside, other=0.0), 0)
        places_of_keys = ((every * S + first + runs) * d)[:, None] + channels[None, :]
        squares_k += tl.sum(tl.load(squares + places_of_keys, mask=inside, other=0.0), 0)
        square_q += tl.sum(tl.load(squares + (first + runs) * d + row, mask=runs < S, other=0.0), 0)
    norm_q, norm_k = tl.sqrt(square_q), tl.sqrt(squares_k)
    cosine = total / (tl.maximum(norm_q, LEAST_NORM) * tl.maximum(norm_k, LEAST_NORM))
    tl.store(cosines + (head.to(tl.int64) * d + row) * d + channels, cosine, mask=channels < d)
    tl.store(norms + head.to(tl.int64) * d + row + tl.arange(0, 1), norm_q)
    tl.store(norms + (every + head) * d + channels, norm_k, mask=(channels < d) & (channels == row))


@triton.jit
def shares(inner, norm):
    """Return what a channel's own gradient takes of it: none where the norm is the least one."""
    safe = tl.maximum(norm, LEAST_NORM)
    return tl.where(norm > LEAST_NORM, inner / (safe * safe), 0.0)


@triton.jit
def scaled(matrix, dtype: tl.constexpr):
    """Return a matrix by the largest number of each row, in a type that may hold few exponents, and these numbers."""
    largest = tl.max(tl.abs(matrix), 1)
    largest = tl.where(largest > 0, largest, 1.0)
    return (matrix / largest[:, None]).to(dtype), largest


@triton.jit
def cosine_gradient_kernel(
    q, k, cosines, norms, grad, grad_q, grad_k, L, d, heads, run,
    q_image, q_row, q_channel, k_image, k_row, k_channel,
    dq_image, dq_row, dq_channel, dk_image, dk_row, dk_channel,
    R: tl.constexpr, D: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One head, one run of positions."""
    head, part = tl.program_id(0), tl.program_id(1)
    dtype = tl.float32 if WIDE else q.dtype.element_ty
    channels = tl.arange(0, D)
    norm_q = tl.load(norms + head.to(tl.int64) * d + channels, mask=channels < d, other=1.0)
    norm_k = tl.load(norms + (tl.num_programs(0) + head).to(tl.int64) * d + channels, mask=channels < d, other=1.0)
    grads = load_matrix(grad, head, channels, d)
    inner = grads * load_matrix(cosines, head, channels, d)
    own_q, own_k = shares(tl.sum(inner, 1), norm_q), shares(tl.sum(inner, 0), norm_k)
    grads = grads / tl.maximum(norm_q, LEAST_NORM)[:, None] / tl.maximum(norm_k, LEAST_NORM)[None, :]
    of_keys, scale_q = scaled(grads, dtype)
    of_queries, scale_k = scaled(tl.trans(grads), dtype)
    q, k = of_head(q, head, heads, d, q_image, q_channel), of_head(k, head, heads, d, k_image, k_channel)
    grad_q = of_head(grad_q, head, heads, d, dq_image, dq_channel)
    grad_k = of_head(grad_k, head, heads, d, dk_image, dk_channel)
    for start in range(part * run, tl.minimum(part * run + run, L), R):
        rows = start + tl.arange(0, R)
        queries = load(q, rows, channels, L, d, q_row, q_channel, WIDE)
        keys = load(k, rows, channels, L, d, k_row, k_channel, WIDE)
        total = tl.dot(keys, tl.trans(of_keys), input_precision=PRECISION) * scale_q[None, :]
        store(grad_q, total - queries * own_q[None, :], rows, channels, L, d, dq_row, dq_channel)
        total = tl.dot(queries, tl.trans(of_queries), input_precision=PRECISION) * scale_k[None, :]
        store(grad_k, total - keys * own_k[None, :], rows, channels, L, d, dk_row, dk_channel)


@triton.jit
def mix_kernel(
    weights, v, out, L, d, heads, run, v_image, v_row, v_channel, out_image, out_row, out_channel,
    R: tl.constexpr, D: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One head, one run of positions."""
    head, part = tl.program_id(0), tl.program_id(1)
    channels = tl.arange(0, D)
    matrix = load_matrix(weights, head, channels, d).to(tl.float32 if WIDE else v.dtype.element_ty)
    v, out = of_head(v, head, heads, d, v_image, v_channel), of_head(out, head, heads, d, out_image, out_channel)
    for start in range(part * run, tl.minimum(part * run + run, L), R):
        rows = start + tl.arange(0, R)
        values = load(v, rows, channels, L, d, v_row, v_channel, WIDE)
        mixed = tl.dot(values, tl.trans(matrix), input_precision=PRECISION)
        store(out, mixed, rows, channels, L, d, out_row, out_channel)


@triton.jit
def mix_gradient_kernel(
    weights, v, grad, grad_v, products, L, d, heads, run,
    v_image, v_row, v_channel, g_image, g_row, g_channel, dv_image, dv_row, dv_channel,
    R: tl.constexpr, D: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One head, one run of positions: the gradient of the values, and this run's part of that of the weights."""
    head, part = tl.program_id(0), tl.program_id(1)
    channels = tl.arange(0, D)
    matrix = load_matrix(weights, head, channels, d).to(tl.float32 if WIDE else v.dtype.element_ty)
    v, grad = of_head(v, head, heads, d, v_image, v_channel), of_head(grad, head, heads, d, g_image, g_channel)
    grad_v = of_head(grad_v, head, heads, d, dv_image, dv_channel)
    total = tl.zeros([D, D], tl.float32)
    for start in range(part * run, tl.minimum(part * run + run, L), R):
        rows = start + tl.arange(0, R)
        values = load(v, rows, channels, L, d, v_row, v_channel, WIDE)
        grads = load(grad, rows, channels, L, d, g_row, g_channel, WIDE)
        total = tl.dot(tl.trans(grads), values, total, input_precision=PRECISION)
        mixed = tl.dot(grads, matrix, input_precision=PRECISION)
        store(grad_v, mixed, rows, channels, L, d, dv_row, dv_channel)
    mine = head.to(tl.int64) * tl.num_programs(1) + part
    store(products + mine * d * d, total, channels, channels, d, d, d, 1)


def obstacle(x: Tensor, heads: int) -> str:
    """Say why the kernels cannot take (..., L, C) with so many heads; "" if they can."""
    d, most = x.shape[-1] // heads, WIDEST.get(x.itemsize, 0)
    return f"heads of {d} channels do not fit, at most {most} do in {x.dtype}" if d > most else ""


def _constants(x: Tensor, heads: int) -> dict[str, Any]:
    D = width(x.shape[2] // heads)
    constants = {"R": ROWS[x.itemsize], "D": D, "PRECISION": precision(x), "WIDE": needs_wide(x)}
    return constants | {"num_warps": 8 if WIDEST[x.itemsize] == D else 4, "num_stages": 2}


def _runs(x: Tensor, heads: int, rows: int) -> tuple[int, int]:
    """Return how many runs of positions there are, and the positions of a run: whole blocks.

    A run is long enough for the sums that it leaves to be few beside what it reads.
    """
    B, L, C = x.shape
    least = triton.cdiv(4 * C // heads, rows) * rows
    runs = min(triton.cdiv(PROGRAMS, B * heads), MOST_RUNS, triton.cdiv(L, least))
    run = triton.cdiv(triton.cdiv(L, runs), rows) * rows
    return triton.cdiv(L, run), run


def _empty(x: Tensor) -> Tensor:
    """Return a tensor of the same shape (B, L, C), of which the same axis is contiguous."""
    if x.stride(2) != 1 and x.stride(1) == 1:
        return x.new_empty([x.shape[0], x.shape[2], x.shape[1]]).transpose(1, 2)
    return x.new_empty(x.shape)


def _empty_matrices(x: Tensor, heads: int) -> Tensor:
    d = x.shape[2] // heads
    return x.new_empty([x.shape[0], heads, d, d], dtype=torch.float32)


def _fake_cosines(q: Tensor, k: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    norms = q.new_empty([2, q.shape[0], heads, q.shape[2] // heads], dtype=torch.float32)
    return _empty_matrices(q, heads), norms


@operator("channel_cosines", _fake_cosines)
def channel_cosines(q: Tensor, k: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Return the cosines between channels (B, h, d, d), those of q before those of k, and norms (2, B, h, d); float32.

    Args:
        q: (B, L, C), any strides.
        k: like `q`.
        heads: h, divides C.
    """
    cosines, norms = _fake_cosines(q, k, heads)
    (B, L, C), constants = q.shape, _constants(q, heads)
    d, (runs, run) = C // heads, _runs(q, heads, constants["R"])
    products = q.new_empty([B * heads, runs, d, d], dtype=torch.float32)
    squares = q.new_empty([2, B * heads, runs, d], dtype=torch.float32)
    grid, strides = (B * heads, runs), (*q.stride(), *k.stride())
    launch(products_kernel, grid, q, k, products, squares, L, d, heads, run, *strides, **constants)
    sums = {"D": constants["D"], "SUMS": SUMS, "num_warps": 4, "num_stages": 1}
    launch(divide_kernel, (d, B * heads), products, squares, cosines, norms, runs, d, **sums)
    return cosines, norms


def _fake_cosines_backward(q: Tensor, k: Tensor, cosines: Tensor, norms: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    return _empty(q), _empty(k)


@operator("channel_cosines_backward", _fake_cosines_backward)
def channel_cosines_backward(
    q: Tensor, k: Tensor, cosines: Tensor, norms: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of q and k for that of the cosines."""
    grad_q, grad_k = _fake_cosines_backward(q, k, cosines, norms, grad)
    heads, grad = cosines.shape[1], grad.contiguous()
    (B, L, C), constants = q.shape, _constants(q, heads)
    runs, run = _runs(q, heads, constants["R"])
    operands = q, k, cosines, norms, grad, grad_q, grad_k, L, C // heads, heads, run
    strides = *q.stride(), *k.stride(), *grad_q.stride(), *grad_k.stride()
    launch(cosine_gradient_kernel, (B * heads, runs), *operands, *strides, **constants)
    return grad_q, grad_k


def _fake_mix(weights: Tensor, v: Tensor) -> Tensor:
    return _empty(v)


@operator("mix_channels", _fake_mix)
def mix_channels(weights: Tensor, v: Tensor) -> Tensor:
    """Return the channels of each head summed by weights, (B, L, C).

    Args:
        weights: (B, h, d, d), what each channel (row) takes of each (column).
        v: (B, L, C), any strides.
    """
    out, weights, heads = _fake_mix(weights, v), weights.contiguous(), weights.shape[1]
    (B, L, C), constants = v.shape, _constants(v, heads)
    runs, run = _runs(v, heads, constants["R"])
    operands = weights, v, out, L, C // heads, heads, run, *v.stride(), *out.stride()
    launch(mix_kernel, (B * heads, runs), *operands, **constants)
    return out


def _fake_mix_backward(weights: Tensor, v: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    return weights.new_empty(weights.shape), _empty(v)


@operator("mix_channels_backward", _fake_mix_backward)
def mix_channels_backward(weights: Tensor, v: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the weights and of v for that of the output."""
    _, grad_v = _fake_mix_backward(weights, v, grad)
    weights, heads = weights.contiguous(), weights.shape[1]
    (B, L, C), constants = v.shape, _constants(v, heads)
    d, (runs, run) = C // heads, _runs(v, heads, constants["R"])
    products = v.new_empty([B, heads, runs, d, d], dtype=torch.float32)
    operands = weights, v, grad, grad_v, products, L, d, heads, run
    strides = *v.stride(), *grad.stride(), *grad_v.stride()
    launch(mix_gradient_kernel, (B * heads, runs), *operands, *strides, **constants)
    return products.sum(2).to(weights.dtype), grad_v


def _save_cosines(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs[:2], *output)


def _cosines_backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
    return *channel_cosines_backward(*ctx.saved_tensors, grad), None


def _save_mix(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _mix_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    return mix_channels_backward(*ctx.saved_tensors, grad)


channel_cosines.register_autograd(_cosines_backward, setup_context=_save_cosines)
mix_channels.register_autograd(_mix_backward, setup_context=_save_mix)
