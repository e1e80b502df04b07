"""Attention inside windows as Triton kernels; `reference` has the equation.

Padding, cyclic shift and the cut into windows are arithmetic on the places of tokens in the map, so that no copy of the
map in windows exists, and no mask: tokens that only the shift has brought together are told apart by their places.
Scores exist in blocks alone, and are made again in the backward pass from the logarithms of the sums that the forward
pass leaves (Dao et al. 2022, FlashAttention, arXiv 2205.14135). With dO given, in each window:

    P = softmax(S);  dV = P^T dO;  dP = dO V^T;  dS = P (dP - rowsum(dP P));  rowsum(dP P) = rowsum(dO O)
    dQ = dS K / sqrt(d);  dK = dS^T Q / sqrt(d);  dbias = sum of dS over the windows

A program of the bias's gradient sums over a run of windows in registers and keeps its sum for itself; the sums are
added up in one order, so that results repeat bit by bit. A window that is one block has all gradients from one program;
a larger one needs its blocks once for the queries, once for the keys and once for the bias.

Shapes: B batch, N tokens of a window, h heads of d channels; a map of (L, H, W) tokens, L = 1 where it has two axes.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from ..launch import launch, needs_wide, operator, precision, width
from .layout import PENALTY, WindowLayout

ROWS = {2: 64, 4: 32, 8: 32}
"""Tokens of a block at most, by the bytes of a sample: exact products of float32 need registers."""
WIDEST = 128
"""Channels of a head that fit into a program; with more than half of them blocks are half as long."""
PROGRAMS = 1024
"""That many keep a GPU busy, and leave few sums."""
LOG2_E = tl.constexpr(1.4426950408889634)
APART = tl.constexpr(PENALTY * 1.4426950408889634)
HIDDEN = tl.constexpr(-1e30)
"""Score of what is no key: finite, as a block may have no other."""


@triton.jit
def along_axis(n, window, size, shift, SIDE: tl.constexpr, DILATED: tl.constexpr, ROLL_FIRST: tl.constexpr):
    """Return the places of a window's tokens along an axis; `size` or more for padding."""
    count = tl.cdiv(size, SIDE)
    rolled = n * count + window if DILATED else window * SIDE + n
    turn = size if ROLL_FIRST else count * SIDE
    place = rolled + shift % turn
    place = tl.where(place >= turn, place - turn, place)
    return tl.where(rolled < size, place, size) if ROLL_FIRST else place


@triton.jit
def split(n, SIDE_L: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr):
    """Return the places of the n-th tokens inside a window, last axis first."""
    z = n // (SIDE_H * SIDE_W) if SIDE_L > 1 else n * 0
    return n % SIDE_W, n // SIDE_W % SIDE_H, z


@triton.jit
def tokens_of(
    n, window, L, H, W, shift_l, shift_h, shift_w,
    SIDE_L: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr,
    DILATED: tl.constexpr, ROLL_FIRST: tl.constexpr,
):  # fmt: skip
    """Return the tokens of a batch's maps that are the n-th of a window; -1 for none, as padding."""
    across, down, deep = tl.cdiv(W, SIDE_W), tl.cdiv(H, SIDE_H), tl.cdiv(L, SIDE_L)
    x, y, z = split(n, SIDE_L, SIDE_H, SIDE_W)
    x = along_axis(x, window % across, W, shift_w, SIDE_W, DILATED, ROLL_FIRST)
    y = along_axis(y, window // across % down, H, shift_h, SIDE_H, DILATED, ROLL_FIRST)
    z = along_axis(z, window // (across * down) % deep, L, shift_l, SIDE_L, DILATED, ROLL_FIRST)
    exists = (x < W) & (y < H) & (z < L) & (n < SIDE_L * SIDE_H * SIDE_W)
    return tl.where(exists, ((window // (across * down * deep) * L + z) * H + y) * W + x, -1)


@triton.jit
def crossed(
    n, shift_l, shift_h, shift_w, SIDE_L: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr
):  # fmt: skip
    """Return, a bit for each axis, whether the n-th token of a window at the map's end comes from its start."""
    x, y, z = split(n, SIDE_L, SIDE_H, SIDE_W)
    x, y, z = x >= SIDE_W - shift_w, y >= SIDE_H - shift_h, z >= SIDE_L - shift_l
    return x.to(tl.int32) + y.to(tl.int32) * 2 + z.to(tl.int32) * 4


@triton.jit
def ends_of(window, L, H, W, SIDE_L: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr):
    """Return, a bit for each axis, whether a window is at the map's end."""
    across, down, deep = tl.cdiv(W, SIDE_W), tl.cdiv(H, SIDE_H), tl.cdiv(L, SIDE_L)
    x, y, z = window % across, window // across % down, window // (across * down) % deep
    return tl.where(x == across - 1, 1, 0) + tl.where(y == down - 1, 2, 0) + tl.where(z == deep - 1, 4, 0)


@triton.jit
def load(x, tokens, head, heads, d: tl.constexpr, BD: tl.constexpr, WIDE: tl.constexpr):
    """Load a head of some tokens, [tokens, BD]; zero where there is none."""
    channels = tl.arange(0, BD)
    offsets = (tokens.to(tl.int64) * (heads * d))[:, None] + channels[None, :]
    block = tl.load(x + head * d + offsets, mask=(tokens >= 0)[:, None] & (channels < d)[None, :], other=0.0)
    return block.to(tl.float32) if WIDE else block


@triton.jit
def load_filled(x, fill, tokens, head, heads, d: tl.constexpr, BD: tl.constexpr, WIDE: tl.constexpr):
    """Load a head of some tokens, [tokens, BD]; what padding has where there is none."""
    block = load(x, tokens, head, heads, d, BD, WIDE)
    if fill is not None:
        channels = tl.arange(0, BD)
        padding = tl.load(fill + head * d + channels, mask=channels < d, other=0.0).to(block.dtype)
        block = tl.where((tokens < 0)[:, None], padding[None, :], block)
    return block


@triton.jit
def store(x, block, tokens, head, heads, d: tl.constexpr, BD: tl.constexpr):
    """Store a head of those tokens that exist."""
    channels = tl.arange(0, BD)
    offsets = (tokens.to(tl.int64) * (heads * d))[:, None] + channels[None, :]
    mask = (tokens >= 0)[:, None] & (channels < d)[None, :]
    tl.store(x + head * d + offsets, block.to(x.dtype.element_ty), mask=mask)


@triton.jit
def store_padding(grad_fill, block, tokens, n, N: tl.constexpr, d: tl.constexpr, BD: tl.constexpr):
    """Store what the padding of a block of keys or values gives to its filling, (d)."""
    channels, padding = tl.arange(0, BD), ((tokens < 0) & (n < N))[:, None]
    tl.store(grad_fill + channels, tl.sum(tl.where(padding, block, 0.0), 0), mask=channels < d)


@triton.jit
def bias_of(table, rows, columns, head, N: tl.constexpr, M: tl.constexpr):
    """Return a block of the bias (h, N, M), in base 2; 0 for none."""
    if table is None:
        return 0.0
    places = rows[:, None] * M + columns[None, :]
    return tl.load(table + head * (N * M) + places, mask=(rows < N)[:, None], other=0.0)


@triton.jit
def scores_of(
    queries, keys, added, rows, columns, tokens, window, scale, L, H, W, shift_l, shift_h, shift_w,
    SIDE_L: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr,
    M: tl.constexpr, SHIFTED: tl.constexpr, MASK_PADDING: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return a block of base-2 scores; `tokens` are those of the keys, `added` the bias."""
    N: tl.constexpr = SIDE_L * SIDE_H * SIDE_W
    scores = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * (scale * LOG2_E) + added
    if SHIFTED:
        ends = ends_of(window, L, H, W, SIDE_L, SIDE_H, SIDE_W)
        here = crossed(rows, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W) & ends
        there = crossed(columns, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W) & ends
        scores += tl.where(here[:, None] == there[None, :], 0.0, APART)
    if MASK_PADDING:
        scores = tl.where((tokens >= 0)[None, :], scores, HIDDEN)
    elif N < M:
        scores = tl.where((columns < N)[None, :], scores, HIDDEN)
    return scores


@triton.jit
def forward_kernel(
    qkv, table, fill, out, sums, heads, scale, L, H, W, shift_l, shift_h, shift_w,
    SIDE_L: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr, DILATED: tl.constexpr, ROLL_FIRST: tl.constexpr,
    R: tl.constexpr, d: tl.constexpr, BD: tl.constexpr, M: tl.constexpr,
    SHIFTED: tl.constexpr, MASK_PADDING: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One block of the queries of a window and head."""
    N: tl.constexpr = SIDE_L * SIDE_H * SIDE_W
    BLOCKS: tl.constexpr = (N + R - 1) // R
    block, head = tl.program_id(0) % BLOCKS, tl.program_id(0) // BLOCKS % heads
    window = tl.program_id(0) // (BLOCKS * heads)
    rows = block * R + tl.arange(0, R)
    asking = tokens_of(rows, window, L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, DILATED, ROLL_FIRST)
    queries = load(qkv, asking, head, 3 * heads, d, BD, WIDE)
    highest = tl.full([R], float("-inf"), tl.float32)
    total = tl.zeros([R], tl.float32)
    mixed = tl.zeros([R, BD], tl.float32)
    for start in range(0, N, R):
        columns = start + tl.arange(0, R)
        answering = tokens_of(
            columns, window, L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, DILATED, ROLL_FIRST
        )
        keys = load_filled(qkv, fill, answering, heads + head, 3 * heads, d, BD, WIDE)
        scores = scores_of(
            queries, keys, bias_of(table, rows, columns, head, N, M), rows, columns, answering, window, scale,
            L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, M, SHIFTED, MASK_PADDING, PRECISION,
        )  # fmt: skip
        higher = tl.maximum(highest, tl.max(scores, 1))
        weights, shrink = tl.exp2(scores - higher[:, None]), tl.exp2(highest - higher)
        values = load_filled(qkv, fill, answering, 2 * heads + head, 3 * heads, d, BD, WIDE)
        mixed = tl.dot(weights.to(values.dtype), values, mixed * shrink[:, None], input_precision=PRECISION)
        total = total * shrink + tl.sum(weights, 1)
        highest = higher
    store(out, mixed / total[:, None], asking, head, heads, d, BD)
    places = (window.to(tl.int64) * heads + head) * N + rows
    tl.store(sums + places, highest + tl.log2(total), mask=rows < N)


@triton.jit
def window_gradient_kernel(
    qkv, table, fill, grad, sums, grad_qkv, grad_table, grad_fill, windows, run,
    heads, scale, L, H, W, shift_l, shift_h, shift_w,
    SIDE_L: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr, DILATED: tl.constexpr, ROLL_FIRST: tl.constexpr,
    R: tl.constexpr, d: tl.constexpr, BD: tl.constexpr, M: tl.constexpr,
    SHIFTED: tl.constexpr, MASK_PADDING: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One head of a run of windows that are one block each: all gradients."""
    N: tl.constexpr = SIDE_L * SIDE_H * SIDE_W
    head, group = tl.program_id(0) % heads, tl.program_id(0) // heads
    rows = tl.arange(0, R)
    total = tl.zeros([R, R], tl.float32)
    added = bias_of(table, rows, rows, head, N, M)
    first = group * run
    for step in range(0, tl.minimum(run, windows - first)):
        window = first + step
        tokens = tokens_of(
            rows, window, L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, DILATED, ROLL_FIRST
        )
        mine = window.to(tl.int64) * heads + head
        queries = load(qkv, tokens, head, 3 * heads, d, BD, WIDE)
        keys = load_filled(qkv, fill, tokens, heads + head, 3 * heads, d, BD, WIDE)
        scores = scores_of(
            queries, keys, added, rows, rows, tokens, window, scale,
            L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, M, SHIFTED, MASK_PADDING, PRECISION,
        )  # fmt: skip
        lse = tl.load(sums + mine * N + rows, mask=rows < N, other=float("inf"))
        weights = tl.exp2(scores - lse[:, None])
        values = load_filled(qkv, fill, tokens, 2 * heads + head, 3 * heads, d, BD, WIDE)
        grads = load(grad, tokens, head, heads, d, BD, WIDE)
        grad_values = tl.dot(tl.trans(weights).to(grads.dtype), grads, input_precision=PRECISION)
        store(grad_qkv, grad_values, tokens, 2 * heads + head, 3 * heads, d, BD)
        if grad_fill is not None:
            store_padding(grad_fill + (mine * 2 + 1) * d, grad_values, tokens, rows, N, d, BD)
        grad_weights = tl.dot(grads, tl.trans(values), input_precision=PRECISION)
        grad_scores = weights * (grad_weights - tl.sum(weights * grad_weights, 1)[:, None])
        if grad_table is not None:
            total += grad_scores
        narrow = grad_scores.to(keys.dtype)
        grad_keys = tl.dot(tl.trans(narrow), queries, input_precision=PRECISION) * scale
        store(grad_qkv, grad_keys, tokens, heads + head, 3 * heads, d, BD)
        if grad_fill is not None:
            store_padding(grad_fill + mine * 2 * d, grad_keys, tokens, rows, N, d, BD)
        grad_queries = tl.dot(narrow, keys, input_precision=PRECISION) * scale
        store(grad_qkv, grad_queries, tokens, head, 3 * heads, d, BD)
    if grad_table is not None:
        places = ((group.to(tl.int64) * heads + head) * N + rows)[:, None] * M + rows[None, :]
        tl.store(grad_table + places, total, mask=(rows < N)[:, None])


@triton.jit
def query_gradient_kernel(
    qkv, table, fill, out, grad, sums, grad_qkv, inner, heads, scale, L, H, W, shift_l, shift_h, shift_w,
    SIDE_L: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr, DILATED: tl.constexpr, ROLL_FIRST: tl.constexpr,
    R: tl.constexpr, d: tl.constexpr, BD: tl.constexpr, M: tl.constexpr,
    SHIFTED: tl.constexpr, MASK_PADDING: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One block of the queries of a window and head: their gradient, and rowsum(dO O) for the other kernels."""
    N: tl.constexpr = SIDE_L * SIDE_H * SIDE_W
    BLOCKS: tl.constexpr = (N + R - 1) // R
    block, head = tl.program_id(0) % BLOCKS, tl.program_id(0) // BLOCKS % heads
    window = tl.program_id(0) // (BLOCKS * heads)
    mine = (window.to(tl.int64) * heads + head) * N
    rows = block * R + tl.arange(0, R)
    asking = tokens_of(rows, window, L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, DILATED, ROLL_FIRST)
    queries = load(qkv, asking, head, 3 * heads, d, BD, WIDE)
    grads = load(grad, asking, head, heads, d, BD, WIDE)
    own = tl.sum(grads.to(tl.float32) * load(out, asking, head, heads, d, BD, WIDE).to(tl.float32), 1)
    tl.store(inner + mine + rows, own, mask=rows < N)
    lse = tl.load(sums + mine + rows, mask=rows < N, other=float("inf"))
    total = tl.zeros([R, BD], tl.float32)
    for start in range(0, N, R):
        columns = start + tl.arange(0, R)
        answering = tokens_of(
            columns, window, L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, DILATED, ROLL_FIRST
        )
        keys = load_filled(qkv, fill, answering, heads + head, 3 * heads, d, BD, WIDE)
        scores = scores_of(
            queries, keys, bias_of(table, rows, columns, head, N, M), rows, columns, answering, window, scale,
            L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, M, SHIFTED, MASK_PADDING, PRECISION,
        )  # fmt: skip
        values = load_filled(qkv, fill, answering, 2 * heads + head, 3 * heads, d, BD, WIDE)
        grad_weights = tl.dot(grads, tl.trans(values), input_precision=PRECISION)
        grad_scores = tl.exp2(scores - lse[:, None]) * (grad_weights - own[:, None])
        total = tl.dot(grad_scores.to(keys.dtype), keys, total, input_precision=PRECISION)
    store(grad_qkv, total * scale, asking, head, 3 * heads, d, BD)


@triton.jit
def key_gradient_kernel(
    qkv, table, fill, grad, sums, inner, grad_qkv, grad_fill, heads, scale, L, H, W, shift_l, shift_h, shift_w,
    SIDE_L: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr, DILATED: tl.constexpr, ROLL_FIRST: tl.constexpr,
    R: tl.constexpr, d: tl.constexpr, BD: tl.constexpr, M: tl.constexpr,
    SHIFTED: tl.constexpr, MASK_PADDING: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One block of the keys of a window and head: their gradient and that of their values."""
    N: tl.constexpr = SIDE_L * SIDE_H * SIDE_W
    BLOCKS: tl.constexpr = (N + R - 1) // R
    block, head = tl.program_id(0) % BLOCKS, tl.program_id(0) // BLOCKS % heads
    window = tl.program_id(0) // (BLOCKS * heads)
    mine = (window.to(tl.int64) * heads + head) * N
    columns = block * R + tl.arange(0, R)
    answering = tokens_of(
        columns, window, L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, DILATED, ROLL_FIRST
    )
    keys = load_filled(qkv, fill, answering, heads + head, 3 * heads, d, BD, WIDE)
    values = load_filled(qkv, fill, answering, 2 * heads + head, 3 * heads, d, BD, WIDE)
    grad_keys, grad_values = tl.zeros([R, BD], tl.float32), tl.zeros([R, BD], tl.float32)
    for start in range(0, N, R):
        rows = start + tl.arange(0, R)
        asking = tokens_of(
            rows, window, L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, DILATED, ROLL_FIRST
        )
        queries = load(qkv, asking, head, 3 * heads, d, BD, WIDE)
        scores = scores_of(
            queries, keys, bias_of(table, rows, columns, head, N, M), rows, columns, answering, window, scale,
            L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, M, SHIFTED, MASK_PADDING, PRECISION,
        )  # fmt: skip
        lse = tl.load(sums + mine + rows, mask=rows < N, other=float("inf"))
        weights = tl.exp2(scores - lse[:, None])
        grads = load(grad, asking, head, heads, d, BD, WIDE)
        grad_values = tl.dot(tl.trans(weights).to(grads.dtype), grads, grad_values, input_precision=PRECISION)
        grad_weights = tl.dot(grads, tl.trans(values), input_precision=PRECISION)
        own = tl.load(inner + mine + rows, mask=rows < N, other=0.0)
        grad_scores = weights * (grad_weights - own[:, None])
        grad_keys = tl.dot(tl.trans(grad_scores).to(queries.dtype), queries, grad_keys, input_precision=PRECISION)
    grad_keys *= scale
    store(grad_qkv, grad_keys, answering, heads + head, 3 * heads, d, BD)
    store(grad_qkv, grad_values, answering, 2 * heads + head, 3 * heads, d, BD)
    if grad_fill is not None:
        place = (window.to(tl.int64) * BLOCKS + block) * heads + head
        store_padding(grad_fill + place * 2 * d, grad_keys, answering, columns, N, d, BD)
        store_padding(grad_fill + (place * 2 + 1) * d, grad_values, answering, columns, N, d, BD)


@triton.jit
def bias_gradient_kernel(
    qkv, table, fill, grad, sums, inner, grad_table, windows, run,
    heads, scale, L, H, W, shift_l, shift_h, shift_w,
    SIDE_L: tl.constexpr, SIDE_H: tl.constexpr, SIDE_W: tl.constexpr, DILATED: tl.constexpr, ROLL_FIRST: tl.constexpr,
    R: tl.constexpr, d: tl.constexpr, BD: tl.constexpr, M: tl.constexpr,
    SHIFTED: tl.constexpr, MASK_PADDING: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One block of the scores of a head, over a run of windows: this run's part of the bias's gradient."""
    N: tl.constexpr = SIDE_L * SIDE_H * SIDE_W
    BLOCKS: tl.constexpr = (N + R - 1) // R
    pair, head = tl.program_id(0) % (BLOCKS * BLOCKS), tl.program_id(0) // (BLOCKS * BLOCKS) % heads
    group = tl.program_id(0) // (BLOCKS * BLOCKS * heads)
    rows, columns = pair // BLOCKS * R + tl.arange(0, R), pair % BLOCKS * R + tl.arange(0, R)
    total = tl.zeros([R, R], tl.float32)
    added = bias_of(table, rows, columns, head, N, M)
    first = group * run
    for step in range(0, tl.minimum(run, windows - first)):
        window = first + step
        mine = (window.to(tl.int64) * heads + head) * N
        asking = tokens_of(
            rows, window, L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, DILATED, ROLL_FIRST
        )
        answering = tokens_of(
            columns, window, L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, DILATED, ROLL_FIRST
        )
        queries = load(qkv, asking, head, 3 * heads, d, BD, WIDE)
        keys = load_filled(qkv, fill, answering, heads + head, 3 * heads, d, BD, WIDE)
        scores = scores_of(
            queries, keys, added, rows, columns, answering, window, scale,
            L, H, W, shift_l, shift_h, shift_w, SIDE_L, SIDE_H, SIDE_W, M, SHIFTED, MASK_PADDING, PRECISION,
        )  # fmt: skip
        lse = tl.load(sums + mine + rows, mask=rows < N, other=float("inf"))
        grads = load(grad, asking, head, heads, d, BD, WIDE)
        values = load_filled(qkv, fill, answering, 2 * heads + head, 3 * heads, d, BD, WIDE)
        grad_weights = tl.dot(grads, tl.trans(values), input_precision=PRECISION)
        own = tl.load(inner + mine + rows, mask=rows < N, other=0.0)
        total += tl.exp2(scores - lse[:, None]) * (grad_weights - own[:, None])
    places = ((group.to(tl.int64) * heads + head) * N + rows)[:, None] * M + columns[None, :]
    tl.store(grad_table + places, total, mask=(rows < N)[:, None])


def obstacle(d: int, layout: WindowLayout, drop: float) -> str:
    """Say why the kernels cannot take heads of `d` channels in these windows; "" if they can."""
    if len(layout.window) > 3:
        return f"maps of {len(layout.window)} axes do not fit, those of at most 3 do"
    if d > WIDEST:
        return f"heads of {d} channels do not fit, at most {WIDEST} do"
    if layout.multiple is not None:
        return "it pads to no more than whole windows"
    if layout.dilated and max(layout.shift) > 0:
        return "it does not shift windows that are spread over the map"
    return "it drops no attention weights" if drop > 0 else ""


def _layout(window: list[int], shift: list[int], dilated: bool, roll_first: bool, mask_padding: bool) -> WindowLayout:
    """Return a layout over three axes, of which the first may be one of a single token."""
    missing = 3 - len(window)
    return WindowLayout([1] * missing + window, [0] * missing + shift, dilated, roll_first, mask_padding)


def _sizes(qkv: Tensor) -> list[int]:
    return [1] * (7 - qkv.dim()) + list(qkv.shape[1:-3])


def _windows(qkv: Tensor, layout: WindowLayout) -> int:
    """Return the windows of a batch."""
    return len(qkv) * prod(triton.cdiv(*each) for each in zip(_sizes(qkv), layout.window, strict=True))


def _scalars(qkv: Tensor, layout: WindowLayout) -> tuple[Any, ...]:
    heads, d = qkv.shape[-2:]
    return heads, d**-0.5, *_sizes(qkv), *layout.shift


def _constants(qkv: Tensor, layout: WindowLayout) -> dict[str, Any]:
    N, BD = prod(layout.window), width(qkv.shape[-1])
    R = min(ROWS[qkv.itemsize] // (1 if BD <= WIDEST // 2 else 2), width(N))
    constants = dict(zip(("SIDE_L", "SIDE_H", "SIDE_W"), layout.window, strict=True))
    constants |= {"DILATED": layout.dilated, "ROLL_FIRST": layout.roll_first, "R": R, "d": qkv.shape[-1], "BD": BD}
    hidden = layout.mask_padding and _is_padded(qkv, layout)
    constants |= {"M": triton.cdiv(N, R) * R, "SHIFTED": max(layout.shift) > 0, "MASK_PADDING": hidden}
    constants |= {"PRECISION": precision(qkv), "WIDE": needs_wide(qkv)}
    if qkv.itemsize > 2:
        return constants | {"num_warps": max(R // 4, BD // 16), "num_stages": 1}
    # Rows that are no whole 16 bytes need registers for their addresses, and more where blocks are loaded in advance.
    stages = 1 if N > R and qkv.shape[-1] % 8 else 2
    return constants | {"num_warps": R // 16 if BD <= 32 else R // 8, "num_stages": stages}


def _table(bias: Tensor | None, M: int) -> Tensor | None:
    """Return a bias (h, N, N) in base 2 with rows of M, whole blocks, which are loaded as such."""
    if bias is None:
        return None
    return F.pad(bias.to(torch.float32) * LOG2_E.value, [0, M - bias.shape[2]]).contiguous()


def _fill(fill: Tensor | None, qkv: Tensor, layout: WindowLayout) -> Tensor | None:
    """Return what padding has; None where there is none."""
    return None if fill is None or not _is_padded(qkv, layout) else fill.contiguous()


def _is_padded(qkv: Tensor, layout: WindowLayout) -> bool:
    return any(size % side != 0 for size, side in zip(_sizes(qkv), layout.window, strict=True))


def _fake(
    qkv: Tensor,
    bias: Tensor | None,
    fill: Tensor | None,
    window: list[int],
    shift: list[int],
    dilated: bool,
    roll_first: bool,
    mask_padding: bool,
) -> tuple[Tensor, Tensor]:
    windows = _windows(qkv, _layout(window, shift, dilated, roll_first, mask_padding))
    sums = qkv.new_empty([windows, qkv.shape[-2], prod(window)], dtype=torch.float32)
    return qkv.new_empty(qkv.shape[:-3] + qkv.shape[-2:]), sums


@operator("window_attention", _fake)
def window_attention(
    qkv: Tensor,
    bias: Tensor | None,
    fill: Tensor | None,
    window: list[int],
    shift: list[int],
    dilated: bool,
    roll_first: bool,
    mask_padding: bool,
) -> tuple[Tensor, Tensor]:
    """Return the mixed values (B, *spatial, h, d), and base-2 logarithms of the sums of exponentials, float32.

    Args:
        qkv: (B, *spatial, 3, h, d), at most 3 axes, d at most `WIDEST`.
        bias: (h, N, N), or None.
        fill: (3, h, d), what padding has for queries, keys and values; None for zeros.
        window: see `WindowLayout`, as for all that follow.
        shift: as long as `window`.
        dilated: a bool.
        roll_first: a bool.
        mask_padding: a bool.
    """
    layout = _layout(window, shift, dilated, roll_first, mask_padding)
    qkv, constants = qkv.contiguous(), _constants(qkv, layout)
    out, sums = _fake(qkv, bias, fill, window, shift, dilated, roll_first, mask_padding)
    operands = qkv, _table(bias, constants["M"]), _fill(fill, qkv, layout), out, sums
    grid = (sums.shape[0] * sums.shape[1] * constants["M"] // constants["R"],)
    launch(forward_kernel, grid, *operands, *_scalars(qkv, layout), **constants)
    return out, sums


def _fake_backward(
    qkv: Tensor,
    bias: Tensor | None,
    fill: Tensor | None,
    out: Tensor,
    sums: Tensor,
    grad: Tensor,
    window: list[int],
    shift: list[int],
    dilated: bool,
    roll_first: bool,
    mask_padding: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    nothing = [0]
    grad_bias = qkv.new_empty(nothing) if bias is None else bias.new_empty(bias.shape)
    grad_fill = qkv.new_empty(nothing) if fill is None else fill.new_empty(fill.shape)
    return qkv.new_empty(qkv.shape), grad_bias, grad_fill


@operator("window_attention_backward", _fake_backward)
def window_attention_backward(
    qkv: Tensor,
    bias: Tensor | None,
    fill: Tensor | None,
    out: Tensor,
    sums: Tensor,
    grad: Tensor,
    window: list[int],
    shift: list[int],
    dilated: bool,
    roll_first: bool,
    mask_padding: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of qkv, bias and fill for that of the output; empty ones for None."""
    layout = _layout(window, shift, dilated, roll_first, mask_padding)
    qkv, grad, constants, scalars = qkv.contiguous(), grad.contiguous(), _constants(qkv, layout), _scalars(qkv, layout)
    (windows, heads, N), d = sums.shape, qkv.shape[-1]
    blocks = constants["M"] // constants["R"]
    table, padding, grad_qkv = _table(bias, constants["M"]), _fill(fill, qkv, layout), qkv.new_empty(qkv.shape)
    run = triton.cdiv(windows, min(windows, triton.cdiv(PROGRAMS, heads * blocks * blocks)))
    groups = triton.cdiv(windows, run)
    parts = None if bias is None else sums.new_empty([groups, heads, N, constants["M"]])
    fills = None if padding is None else sums.new_empty([windows * blocks, heads, 2, d])
    if blocks == 1:
        operands = qkv, table, padding, grad, sums, grad_qkv, parts, fills, windows, run
        if constants["R"] == ROWS[2] and d % 8:  # whose addresses need registers, see `_constants`; sm_80 spills else
            constants |= {"num_warps": 8, "num_stages": 1}
        launch(window_gradient_kernel, (groups * heads,), *operands, *scalars, **constants)
    else:
        grid, inner = (windows * heads * blocks,), sums.new_empty(sums.shape)
        operands = qkv, table, padding, out.contiguous(), grad, sums, grad_qkv, inner
        launch(query_gradient_kernel, grid, *operands, *scalars, **constants)
        operands = qkv, table, padding, grad, sums, inner, grad_qkv, fills
        launch(key_gradient_kernel, grid, *operands, *scalars, **constants)
        if parts is not None:
            operands = qkv, table, padding, grad, sums, inner, parts, windows, run
            launch(bias_gradient_kernel, (groups * heads * blocks**2,), *operands, *scalars, **constants)
    return grad_qkv, _bias_gradient(qkv, bias, parts), _fill_gradient(qkv, fill, fills)


def _bias_gradient(qkv: Tensor, bias: Tensor | None, parts: Tensor | None) -> Tensor:
    """Sum (groups, h, N, M) up."""
    if bias is None or parts is None:
        return qkv.new_empty([0])
    return parts.sum(0)[..., : bias.shape[2]].to(bias.dtype).contiguous()


def _fill_gradient(qkv: Tensor, fill: Tensor | None, parts: Tensor | None) -> Tensor:
    """Sum (blocks, h, 2, d) up; nobody sees the queries of padding."""
    if fill is None:
        return qkv.new_empty([0])
    if parts is None:
        return fill.new_zeros(fill.shape)
    return F.pad(parts.sum(0).transpose(0, 1), [0, 0, 0, 0, 1, 0]).to(fill.dtype).contiguous()


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs[:3], *output)
    ctx.layout = inputs[3:]


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    gradients = window_attention_backward(*saved, grad, *ctx.layout)
    wanted = [None if each is None else gradient for each, gradient in zip(saved, gradients, strict=False)]
    return *wanted, *(None for _ in ctx.layout)


window_attention.register_autograd(_backward, setup_context=_save)
