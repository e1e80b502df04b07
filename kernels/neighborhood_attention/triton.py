"""Neighbourhood attention as Triton kernels: windows are found by arithmetic, and no copy of the map is cut into them.

A program has a tile of queries of one dilation group and one head. The keys that any of them sees fill a box, which it
goes through in blocks, with the sums of softmax carried along; what a query does not see is masked. In the backward
pass scores are made again: for tiles of queries, whose gradient and rowsum(dO O) they give, and for tiles of keys, with
the box of queries that see any of them. The gradient of the bias is summed over many tiles for each pair of a query's
place in its tile and a key's place around it; pairs of the same offset are added up in the end. No sum is made in
memory, so that results repeat bit by bit.

    S = q k^T / sqrt(d) + bias;  P = softmax(S);  O = P v
    dV = P^T dO;  dS = P (dO V^T - rowsum(dO O));  dQ = dS K / sqrt(d);  dK = dS^T Q / sqrt(d);  dbias = sums of dS

Sources: Hassani et al. 2023 (arXiv 2204.07143), 2022 (2209.15001: dilation), 2025 (2504.16922: stride, and tiles of
queries with the box of their keys); Dao et al. 2022, FlashAttention (2205.14135): running sums, scores made again.

Shapes: B batch, X Y Z tokens along the axes, h heads of d channels, R queries of a tile, N keys of a block. A tuple has
one value for each axis. A place is counted in steps of the dilation, inside the dilation group.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import launch, needs_wide, operator, precision, width

ROWS = {2: 64, 4: 32}
"""Tokens of a tile and of a block, by the bytes of a sample: exact products of float32 need registers."""
FEWER_COLUMNS = 32
"""Tokens of a block, where much else is in registers."""
LEAST_ROWS = 16
"""That many matrix units take."""
WIDEST = 128
"""Channels of a head that fit into a program."""
PROGRAMS = 1024
"""That many keep a GPU busy."""
LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
LOWEST = tl.constexpr(-3e38)


@triton.jit
def visible(place, length, KERNEL: tl.constexpr, STRIDE: tl.constexpr, CAUSAL: tl.constexpr):
    """Return where the keys of a query begin and end along an axis; see `axis.visible`."""
    kernel = tl.minimum(length, KERNEL)
    if STRIDE > 1:
        stride = tl.minimum(kernel, STRIDE)
        first = place // stride * stride
    else:
        stride = 1
        first = place
    if CAUSAL:
        leader = tl.minimum(first + stride - 1, length - 1)
        return tl.maximum(leader - kernel + 1, 0), place + 1
    else:
        leader = tl.minimum(first + stride // 2, length - 1)
        start = tl.minimum(tl.maximum(leader - kernel // 2, 0), length - kernel)
        return start, start + kernel


@triton.jit
def askers(first, last, length, KERNEL: tl.constexpr, STRIDE: tl.constexpr, CAUSAL: tl.constexpr):
    """Return where the queries that may see a run of keys begin and end along an axis."""
    if CAUSAL:
        return first, tl.minimum(last + KERNEL, length)
    else:
        kernel = tl.minimum(length, KERNEL)
        start = tl.maximum(first - (kernel - 1 - kernel // 2) - STRIDE // 2, 0)
        end = tl.minimum(last + kernel // 2 + STRIDE - STRIDE // 2, length)
        return tl.where(first < kernel, 0, start), tl.where(last >= length - kernel, length, end)


@triton.jit
def along(number, size, DILATION: tl.constexpr, SIDE: tl.constexpr):
    """Return the dilation group of an axis' tile, its first place, and the tokens of the group."""
    groups = tl.minimum(size, DILATION)
    rest = number % groups
    return rest, number // groups * SIDE, tl.cdiv(size - rest, DILATION)


@triton.jit
def tiles_of(size, DILATION: tl.constexpr, SIDE: tl.constexpr):
    """Return the tiles of an axis."""
    return tl.minimum(size, DILATION) * tl.cdiv(tl.cdiv(size, DILATION), SIDE)


@triton.jit
def tile_at(number, sizes, D, T):
    """Return a tile's dilation group, its first place, the tokens of the group, and its last place but one beyond."""
    rows, columns = tiles_of(sizes[1], D[1], T[1]), tiles_of(sizes[2], D[2], T[2])
    rest0, first0, length0 = along(number // columns // rows, sizes[0], D[0], T[0])
    rest1, first1, length1 = along(number // columns % rows, sizes[1], D[1], T[1])
    rest2, first2, length2 = along(number % columns, sizes[2], D[2], T[2])
    last0, last1 = tl.minimum(first0 + T[0], length0) - 1, tl.minimum(first1 + T[1], length1) - 1
    last2 = tl.minimum(first2 + T[2], length2) - 1
    lengths = (length0, length1, length2)
    return (rest0, rest1, rest2), (first0, first1, first2), lengths, (last0, last1, last2)


@triton.jit
def box(firsts, numbers, E):
    """Return the places of what is numbered from 0 in a box, the last axis fastest."""
    return firsts[0] + numbers // (E[1] * E[2]), firsts[1] + numbers // E[2] % E[1], firsts[2] + numbers % E[2]


@triton.jit
def box_end(firsts, ends, E):
    """Return the greatest number in a box, and 1, of a place before `ends`."""
    return ((ends[0] - firsts[0] - 1) * E[1] + ends[1] - firsts[1] - 1) * E[2] + ends[2] - firsts[2]


@triton.jit
def before(places, ends):
    """Tell which places are before an end along every axis."""
    return (places[0] < ends[0]) & (places[1] < ends[1]) & (places[2] < ends[2])


@triton.jit
def tokens_at(places, rests, sizes, D):
    """Return the numbers of tokens in a map."""
    row = (rests[0] + places[0] * D[0]) * sizes[1] + rests[1] + places[1] * D[1]
    return row * sizes[2] + rests[2] + places[2] * D[2]


@triton.jit
def windows(places, lengths, K, S, C):
    """Return where the keys of queries begin and end along each axis."""
    start0, end0 = visible(places[0], lengths[0], K[0], S[0], C[0])
    start1, end1 = visible(places[1], lengths[1], K[1], S[1], C[1])
    start2, end2 = visible(places[2], lengths[2], K[2], S[2], C[2])
    return (start0, start1, start2), (end0, end1, end2)


@triton.jit
def windows_inside(places, inside, lengths, K, S, C):
    """Return the windows of queries; those of places that are not inside are empty."""
    starts, ends = windows(places, lengths, K, S, C)
    return starts, (ends[0], ends[1], tl.where(inside, ends[2], 0))


@triton.jit
def seen_from(firsts, lasts, lengths, K, S, C):
    """Return where the keys that a box of queries sees begin and end along each axis."""
    starts, _ = windows(firsts, lengths, K, S, C)
    _, ends = windows(lasts, lengths, K, S, C)
    return starts, ends


@triton.jit
def all_askers(firsts, lasts, lengths, K, S, C):
    """Return where the queries that may see a box of keys begin and end along each axis."""
    start0, end0 = askers(firsts[0], lasts[0], lengths[0], K[0], S[0], C[0])
    start1, end1 = askers(firsts[1], lasts[1], lengths[1], K[1], S[1], C[1])
    start2, end2 = askers(firsts[2], lasts[2], lengths[2], K[2], S[2], C[2])
    return (start0, start1, start2), (end0, end1, end2)


@triton.jit
def down(values):
    """Make three vectors columns."""
    return values[0][:, None], values[1][:, None], values[2][:, None]


@triton.jit
def across(values):
    """Make three vectors rows."""
    return values[0][None, :], values[1][None, :], values[2][None, :]


@triton.jit
def sees(starts, ends, places, E):
    """Tell which pairs have the key in the window of the query; along an axis of one place each has."""
    seen = (starts[2] <= places[2]) & (places[2] < ends[2])
    if E[1] > 1:
        seen = seen & (starts[1] <= places[1]) & (places[1] < ends[1])
    if E[0] > 1:
        seen = seen & (starts[0] <= places[0]) & (places[0] < ends[0])
    return seen


@triton.jit
def entries(keys, queries, K):
    """Return where a pair's bias stands in the table of a head; places of pairs."""
    row = (keys[0] - queries[0] + K[0] - 1) * (2 * K[1] - 1) + keys[1] - queries[1] + K[1] - 1
    return row * (2 * K[2] - 1) + keys[2] - queries[2] + K[2] - 1


@triton.jit
def table_of(bias, head, K):
    """Return where the table of a head begins."""
    return bias + head * ((2 * K[0] - 1) * (2 * K[1] - 1) * (2 * K[2] - 1))


@triton.jit
def load(base, tokens, inside, stride, d, BD: tl.constexpr, WIDE: tl.constexpr):
    """Load the channels of tokens, zero for those that are not inside."""
    channels = tl.arange(0, BD)
    offsets = tokens[:, None].to(tl.int64) * stride + channels[None, :]
    block = tl.load(base + offsets, mask=inside[:, None] & (channels < d)[None, :], other=0.0)
    return block.to(tl.float32) if WIDE else block


@triton.jit
def store(base, block, tokens, inside, stride, d, BD: tl.constexpr):
    """Store the channels of tokens that are inside."""
    channels = tl.arange(0, BD)
    offsets = tokens[:, None].to(tl.int64) * stride + channels[None, :]
    tl.store(base + offsets, block.to(base.dtype.element_ty), mask=inside[:, None] & (channels < d)[None, :])


@triton.jit
def scores_of(rows, columns, seen, entry, table, scale, BIASED: tl.constexpr, PRECISION: tl.constexpr):
    """Return scores in units of log 2, -inf for pairs that are not seen."""
    scores = tl.dot(rows, tl.trans(columns), input_precision=PRECISION) * scale
    if BIASED:
        scores += tl.load(table + entry, mask=seen, other=0.0) * LOG2_E
    return tl.where(seen, scores, float("-inf"))


@triton.jit
def forward_kernel(
    qkv, bias, out, sums, X, Y, Z, heads, d, scale,
    K0: tl.constexpr, K1: tl.constexpr, K2: tl.constexpr, D0: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr,
    S0: tl.constexpr, S1: tl.constexpr, S2: tl.constexpr, C0: tl.constexpr, C1: tl.constexpr, C2: tl.constexpr,
    T0: tl.constexpr, T1: tl.constexpr, T2: tl.constexpr, E0: tl.constexpr, E1: tl.constexpr, E2: tl.constexpr,
    R: tl.constexpr, N: tl.constexpr, BD: tl.constexpr, BIASED: tl.constexpr, PRECISION: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """One tile of queries of one head."""
    sizes, K, D, S, C = (X, Y, Z), (K0, K1, K2), (D0, D1, D2), (S0, S1, S2), (C0, C1, C2)
    T, E = (T0, T1, T2), (E0, E1, E2)
    head, image = tl.program_id(0) % heads, tl.program_id(1).to(tl.int64) * X * Y * Z
    rests, firsts, lengths, lasts = tile_at(tl.program_id(0) // heads, sizes, D, T)
    places = box(firsts, tl.arange(0, R), T)
    mine, inside = tokens_at(places, rests, sizes, D), before(places, lengths)
    starts, ends = windows_inside(places, inside, lengths, K, S, C)
    corner, far = seen_from(firsts, lasts, lengths, K, S, C)
    stride = 3 * heads * d
    qkv += image * stride + head * d
    table = table_of(bias, head, K)
    queries = load(qkv, mine, inside, stride, d, BD, WIDE)
    highest = tl.full([R], LOWEST, tl.float32)
    total = tl.zeros([R], tl.float32)
    mixed = tl.zeros([R, BD], tl.float32)
    for start in range(0, box_end(corner, far, E), N):
        others = box(corner, start + tl.arange(0, N), E)
        theirs, there = tokens_at(others, rests, sizes, D), before(others, far)
        keys = load(qkv + heads * d, theirs, there, stride, d, BD, WIDE)
        seen = sees(down(starts), down(ends), across(others), E) & there[None, :]
        entry = entries(across(others), down(places), K)
        scores = scores_of(queries, keys, seen, entry, table, scale, BIASED, PRECISION)
        higher = tl.maximum(highest, tl.max(scores, 1))
        weights, shrink = tl.exp2(scores - higher[:, None]), tl.exp2(highest - higher)
        values = load(qkv + 2 * heads * d, theirs, there, stride, d, BD, WIDE)
        mixed = tl.dot(weights.to(values.dtype), values, mixed * shrink[:, None], input_precision=PRECISION)
        total = total * shrink + tl.sum(weights, 1)
        highest = higher
    store(out + (image * heads + head) * d, mixed / total[:, None], mine, inside, heads * d, d, BD)
    tl.store(sums + image * heads + mine * heads + head, highest + tl.log2(total), mask=inside)


@triton.jit
def score_gradients(weights, rows, columns, inner, PRECISION: tl.constexpr):
    """Return the gradients of the scores of pairs from their weights, from dO and v, either of them rows."""
    return weights * (tl.dot(rows, tl.trans(columns), input_precision=PRECISION) - inner)


@triton.jit
def query_gradient_kernel(
    qkv, bias, out, grad, sums, inner, grad_qkv, X, Y, Z, heads, d, scale,
    K0: tl.constexpr, K1: tl.constexpr, K2: tl.constexpr, D0: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr,
    S0: tl.constexpr, S1: tl.constexpr, S2: tl.constexpr, C0: tl.constexpr, C1: tl.constexpr, C2: tl.constexpr,
    T0: tl.constexpr, T1: tl.constexpr, T2: tl.constexpr, E0: tl.constexpr, E1: tl.constexpr, E2: tl.constexpr,
    R: tl.constexpr, N: tl.constexpr, BD: tl.constexpr, BIASED: tl.constexpr, PRECISION: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """One tile of queries of one head; leaves rowsum(dO O) for the other kernels."""
    sizes, K, D, S, C = (X, Y, Z), (K0, K1, K2), (D0, D1, D2), (S0, S1, S2), (C0, C1, C2)
    T, E = (T0, T1, T2), (E0, E1, E2)
    head, image = tl.program_id(0) % heads, tl.program_id(1).to(tl.int64) * X * Y * Z
    rests, firsts, lengths, lasts = tile_at(tl.program_id(0) // heads, sizes, D, T)
    places = box(firsts, tl.arange(0, R), T)
    mine, inside = tokens_at(places, rests, sizes, D), before(places, lengths)
    starts, ends = windows_inside(places, inside, lengths, K, S, C)
    corner, far = seen_from(firsts, lasts, lengths, K, S, C)
    stride = 3 * heads * d
    qkv += image * stride + head * d
    table = table_of(bias, head, K)
    queries = load(qkv, mine, inside, stride, d, BD, WIDE)
    grads = load(grad + (image * heads + head) * d, mine, inside, heads * d, d, BD, WIDE)
    mixed = load(out + (image * heads + head) * d, mine, inside, heads * d, d, BD, WIDE)
    own = tl.sum(grads.to(tl.float32) * mixed.to(tl.float32), 1)
    tl.store(inner + image * heads + mine * heads + head, own, mask=inside)
    lse = tl.load(sums + image * heads + mine * heads + head, mask=inside, other=0.0)
    total = tl.zeros([R, BD], tl.float32)
    for start in range(0, box_end(corner, far, E), N):
        others = box(corner, start + tl.arange(0, N), E)
        theirs, there = tokens_at(others, rests, sizes, D), before(others, far)
        keys = load(qkv + heads * d, theirs, there, stride, d, BD, WIDE)
        values = load(qkv + 2 * heads * d, theirs, there, stride, d, BD, WIDE)
        seen = sees(down(starts), down(ends), across(others), E) & there[None, :]
        entry = entries(across(others), down(places), K)
        scores = scores_of(queries, keys, seen, entry, table, scale, BIASED, PRECISION)
        weights = tl.exp2(scores - lse[:, None])
        grad_scores = score_gradients(weights, grads, values, own[:, None], PRECISION)
        total = tl.dot(grad_scores.to(keys.dtype), keys, total, input_precision=PRECISION)
    store(grad_qkv + image * stride + head * d, total * (scale * LN_2), mine, inside, stride, d, BD)


@triton.jit
def key_gradient_kernel(
    qkv, bias, grad, sums, inner, grad_qkv, X, Y, Z, heads, d, scale,
    K0: tl.constexpr, K1: tl.constexpr, K2: tl.constexpr, D0: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr,
    S0: tl.constexpr, S1: tl.constexpr, S2: tl.constexpr, C0: tl.constexpr, C1: tl.constexpr, C2: tl.constexpr,
    T0: tl.constexpr, T1: tl.constexpr, T2: tl.constexpr, E0: tl.constexpr, E1: tl.constexpr, E2: tl.constexpr,
    R: tl.constexpr, N: tl.constexpr, BD: tl.constexpr, BIASED: tl.constexpr, PRECISION: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """One tile of keys of one head: the gradients of keys and values."""
    sizes, K, D, S, C = (X, Y, Z), (K0, K1, K2), (D0, D1, D2), (S0, S1, S2), (C0, C1, C2)
    T, E = (T0, T1, T2), (E0, E1, E2)
    head, image = tl.program_id(0) % heads, tl.program_id(1).to(tl.int64) * X * Y * Z
    rests, firsts, lengths, lasts = tile_at(tl.program_id(0) // heads, sizes, D, T)
    places = box(firsts, tl.arange(0, R), T)
    mine, inside = tokens_at(places, rests, sizes, D), before(places, lengths)
    corner, far = all_askers(firsts, lasts, lengths, K, S, C)
    stride = 3 * heads * d
    qkv += image * stride + head * d
    grad += (image * heads + head) * d
    table = table_of(bias, head, K)
    keys = load(qkv + heads * d, mine, inside, stride, d, BD, WIDE)
    values = load(qkv + 2 * heads * d, mine, inside, stride, d, BD, WIDE)
    grad_keys = tl.zeros([R, BD], tl.float32)
    grad_values = tl.zeros([R, BD], tl.float32)
    for start in range(0, box_end(corner, far, E), N):
        others = box(corner, start + tl.arange(0, N), E)
        theirs, there = tokens_at(others, rests, sizes, D), before(others, far)
        starts, ends = windows_inside(others, there, lengths, K, S, C)
        queries = load(qkv, theirs, there, stride, d, BD, WIDE)
        grads = load(grad, theirs, there, heads * d, d, BD, WIDE)
        lse = tl.load(sums + image * heads + theirs * heads + head, mask=there, other=0.0)
        own = tl.load(inner + image * heads + theirs * heads + head, mask=there, other=0.0)
        seen = sees(across(starts), across(ends), down(places), E)
        entry = entries(down(places), across(others), K)
        scores = scores_of(keys, queries, seen, entry, table, scale, BIASED, PRECISION)
        weights = tl.exp2(scores - lse[None, :])
        grad_scores = score_gradients(weights, values, grads, own[None, :], PRECISION)
        grad_values = tl.dot(weights.to(grads.dtype), grads, grad_values, input_precision=PRECISION)
        grad_keys = tl.dot(grad_scores.to(queries.dtype), queries, grad_keys, input_precision=PRECISION)
    grad_qkv += image * stride + head * d
    store(grad_qkv + heads * d, grad_keys * (scale * LN_2), mine, inside, stride, d, BD)
    store(grad_qkv + 2 * heads * d, grad_values, mine, inside, stride, d, BD)


@triton.jit
def pair_gradient_kernel(
    qkv, bias, grad, sums, inner, pairs, X, Y, Z, heads, d, scale, tiles, items, run,
    K0: tl.constexpr, K1: tl.constexpr, K2: tl.constexpr, D0: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr,
    S0: tl.constexpr, S1: tl.constexpr, S2: tl.constexpr, C0: tl.constexpr, C1: tl.constexpr, C2: tl.constexpr,
    T0: tl.constexpr, T1: tl.constexpr, T2: tl.constexpr, E0: tl.constexpr, E1: tl.constexpr, E2: tl.constexpr,
    R: tl.constexpr, N: tl.constexpr, BD: tl.constexpr, BIASED: tl.constexpr, PRECISION: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """A run of the tiles of all images, one head, one block of the box around a tile: sums of the scores' gradients.

    The box holds whatever a query may see from its tile, so that a pair's place in it tells its offset for every tile.
    """
    sizes, K, D, S, C = (X, Y, Z), (K0, K1, K2), (D0, D1, D2), (S0, S1, S2), (C0, C1, C2)
    T, E = (T0, T1, T2), (E0, E1, E2)
    reach = ((E0 - T0) // 2, (E1 - T1) // 2, (E2 - T2) // 2)
    head, stride = tl.program_id(1), 3 * heads * d
    table = table_of(bias, head, K)
    first_number = tl.program_id(0) * N
    numbers = first_number + tl.arange(0, N)
    total = tl.zeros([R, N], tl.float32)
    begin = tl.program_id(2) * run
    for item in range(begin, tl.minimum(begin + run, items)):
        rests, firsts, lengths, lasts = tile_at(item % tiles, sizes, D, T)
        around = (firsts[0] - reach[0], firsts[1] - reach[1], firsts[2] - reach[2])
        corner, far = seen_from(firsts, lasts, lengths, K, S, C)
        # The first of the box that is seen has the number of what lies before the next place, less 1.
        least = box_end(around, (corner[0] + 1, corner[1] + 1, corner[2] + 1), E) - 1
        if (first_number + N > least) & (first_number < box_end(around, far, E)):
            image = (item // tiles).to(tl.int64) * X * Y * Z
            places, others = box(firsts, tl.arange(0, R), T), box(around, numbers, E)
            mine, inside = tokens_at(places, rests, sizes, D), before(places, lengths)
            theirs = tokens_at(others, rests, sizes, D)
            there = before(others, far) & (others[0] >= corner[0]) & (others[1] >= corner[1]) & (others[2] >= corner[2])
            starts, ends = windows_inside(places, inside, lengths, K, S, C)
            there_qkv = qkv + image * stride + head * d
            queries = load(there_qkv, mine, inside, stride, d, BD, WIDE)
            keys = load(there_qkv + heads * d, theirs, there, stride, d, BD, WIDE)
            values = load(there_qkv + 2 * heads * d, theirs, there, stride, d, BD, WIDE)
            grads = load(grad + (image * heads + head) * d, mine, inside, heads * d, d, BD, WIDE)
            lse = tl.load(sums + image * heads + mine * heads + head, mask=inside, other=0.0)
            own = tl.load(inner + image * heads + mine * heads + head, mask=inside, other=0.0)
            seen = sees(down(starts), down(ends), across(others), E) & there[None, :]
            entry = entries(across(others), down(places), K)
            scores = scores_of(queries, keys, seen, entry, table, scale, BIASED, PRECISION)
            weights = tl.exp2(scores - lse[:, None])
            total += score_gradients(weights, grads, values, own[:, None], PRECISION)
    rows = (tl.program_id(2).to(tl.int64) * heads + head) * R + tl.arange(0, R)
    tl.store(pairs + rows[:, None] * (tl.num_programs(0) * N) + numbers[None, :], total)


@triton.jit
def bias_gradient_kernel(
    pairs, grad_bias, heads, runs, columns,
    K0: tl.constexpr, K1: tl.constexpr, K2: tl.constexpr, T0: tl.constexpr, T1: tl.constexpr, T2: tl.constexpr,
    E0: tl.constexpr, E1: tl.constexpr, E2: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """One offset, one head: the sum over the pairs that have it, one for each query of a tile, and over all runs."""
    K, T, E = (K0, K1, K2), (T0, T1, T2), (E0, E1, E2)
    reach = ((E0 - T0) // 2, (E1 - T1) // 2, (E2 - T2) // 2)
    head, rows = tl.program_id(1), tl.arange(0, R)
    entry = tl.program_id(0) + 0 * rows  # a block, as all that a mask is made of
    offsets = box((1 - K0, 1 - K1, 1 - K2), entry, (2 * K[0] - 1, 2 * K[1] - 1, 2 * K[2] - 1))
    found = (tl.abs(offsets[0]) <= reach[0]) & (tl.abs(offsets[1]) <= reach[1]) & (tl.abs(offsets[2]) <= reach[2])
    from0, from1, from2 = box((offsets[0] + reach[0], offsets[1] + reach[1], offsets[2] + reach[2]), rows, T)
    numbers = (from0 * E[1] + from1) * E[2] + from2
    total = tl.zeros([R], tl.float32)
    there = pairs + (head * R + rows) * columns + numbers
    for _ in range(runs):
        total += tl.load(there, mask=found, other=0.0)
        there += heads * R * columns
    tl.store(grad_bias + head * tl.num_programs(0) + tl.program_id(0), tl.sum(total, 0))


def obstacle(qkv: Tensor) -> str:
    """Say why the kernels cannot take qkv, (B, *spatial, 3, h, d); "" if they can."""
    if qkv.itemsize not in ROWS:
        return f"it does not compute in {qkv.dtype}"
    if qkv.ndim > 7:
        return f"maps of {qkv.ndim - 4} axes are too many, at most 3 are taken"
    return f"heads of {qkv.shape[-1]} channels do not fit, at most {WIDEST} do" if qkv.shape[-1] > WIDEST else ""


def _sides(lengths: Sequence[int], most: int) -> list[int]:
    """Return the sides of a tile, powers of two: alike, but for axes that are shorter."""
    sides = [1, 1, 1]
    while prod(sides) < most:
        short = [axis for axis in (2, 1, 0) if sides[axis] < lengths[axis]]
        if not short and prod(sides) >= LEAST_ROWS:
            break
        sides[min(short or [2], key=lambda axis: sides[axis])] *= 2
    return sides


def _columns(qkv: Tensor) -> int:
    """Return the tokens of a block: few where a row of exact products takes many registers."""
    return LEAST_ROWS if qkv.itemsize == 4 and qkv.shape[-1] > 64 else ROWS[qkv.itemsize]


class _Plan:
    """What is chosen for a launch by shape and dtype.

    Attributes:
        sizes: X, Y, Z, heads, d and the factor of scores.
        tiles: of a map.
        constants: of all kernels.
    """

    def __init__(
        self,
        qkv: Tensor,
        biased: bool,
        kernel: Sequence[int],
        dilation: Sequence[int],
        stride: Sequence[int],
        causal: Sequence[bool],
    ) -> None:
        spatial, (heads, d) = qkv.shape[1:4], qkv.shape[5:]
        self.sizes = (*spatial, heads, d, d**-0.5 * LOG2_E.value)
        self.lengths = [triton.cdiv(size, step) for size, step in zip(spatial, dilation, strict=True)]
        self.sides = _sides(self.lengths, ROWS[qkv.itemsize])
        groups = [min(size, step) for size, step in zip(spatial, dilation, strict=True)]
        runs = [triton.cdiv(length, side) for length, side in zip(self.lengths, self.sides, strict=True)]
        self.tiles = prod(groups) * prod(runs)
        self.kernel, self.causal = list(kernel), list(causal)
        self.stride = [min(each, most) for each, most in zip(stride, kernel, strict=True)]
        axes = {"K": self.kernel, "D": dilation, "S": self.stride, "C": self.causal, "T": self.sides}
        self.constants = _by_axis(axes) | {
            "R": prod(self.sides), "N": _columns(qkv), "BD": width(d), "BIASED": biased,
            "PRECISION": precision(qkv), "WIDE": needs_wide(qkv), "num_warps": 4 if d <= 64 else 8, "num_stages": 2,
        }  # fmt: skip

    def keys_of_tiles(self) -> dict[str, Any]:
        """Return the constants with the greatest box of the keys that a tile of queries sees."""

        def extent(side: int, kernel: int, stride: int, causal: bool) -> int:
            return kernel + (side - 1 if causal else triton.cdiv(side - 1, stride) * stride)

        return self._boxes([extent(*each) for each in self._axes()])

    def queries_of_tiles(self) -> dict[str, Any]:
        """Return the constants with the greatest box of the queries that see a tile of keys."""

        def extent(side: int, kernel: int, stride: int, causal: bool) -> int:
            if causal:
                return side + kernel - 1
            # Every query before the first border sees the first keys, and likewise at the other end.
            first_border = (kernel - 1) // side * side
            return side + kernel - 1 + max(first_border, kernel - 1 - kernel // 2 + stride // 2)

        # Keys and values both have a sum in registers, which leaves room for fewer queries.
        return self._boxes([extent(*each) for each in self._axes()]) | {"N": min(self.constants["N"], FEWER_COLUMNS)}

    def pairs_of_tiles(self) -> dict[str, Any]:
        """Return the constants with the box of all that queries of a tile may see from any place of the map."""
        reach = [int(min(kernel, length)) - 1 for kernel, length in zip(self.kernel, self.lengths, strict=True)]
        extents = [side + 2 * each for side, each in zip(self.sides, reach, strict=True)]
        return self.constants | _by_axis({"E": extents}) | {"num_stages": 1}

    def _axes(self) -> zip[tuple[int, int, int, bool]]:
        return zip(self.sides, self.kernel, self.stride, self.causal, strict=True)

    def _boxes(self, extents: Sequence[int]) -> dict[str, Any]:
        clipped = [int(min(extent, length)) for extent, length in zip(extents, self.lengths, strict=True)]
        return self.constants | _by_axis({"E": clipped})


def _by_axis(values: dict[str, Sequence[int]]) -> dict[str, Any]:
    return {f"{name}{axis}": each[axis] for name, each in values.items() for axis in range(3)}


def _fake(
    qkv: Tensor,
    bias: Tensor | None,
    kernel: Sequence[int],
    dilation: Sequence[int],
    stride: Sequence[int],
    causal: Sequence[bool],
) -> tuple[Tensor, Tensor]:
    shape = [*qkv.shape[:4], *qkv.shape[5:]]
    return qkv.new_empty(shape), qkv.new_empty(shape[:-1], dtype=torch.float32)


@operator("neighborhood_attention", _fake)
def neighborhood_attention(
    qkv: Tensor,
    bias: Tensor | None,
    kernel: Sequence[int],
    dilation: Sequence[int],
    stride: Sequence[int],
    causal: Sequence[bool],
) -> tuple[Tensor, Tensor]:
    """Return the mixed values (B, X, Y, Z, h, d), and base-2 logarithms of the sums of exponentials (B, X, Y, Z, h).

    Args:
        qkv: (B, X, Y, Z, 3, h, d), d at most `WIDEST`; what a map lacks of three axes has length 1.
        bias: (h, 2 kernel - 1 along each axis), float32, or None.
        kernel: keys along each of the three axes.
        dilation: distance between them.
        stride: queries that share their keys.
        causal: for each axis, hide what comes after the query.
    """
    out, sums = _fake(qkv, bias, kernel, dilation, stride, causal)
    qkv, table = qkv.contiguous(), sums if bias is None else bias.contiguous()
    plan = _Plan(qkv, bias is not None, kernel, dilation, stride, causal)
    grid = (plan.tiles * qkv.shape[5], len(qkv))
    launch(forward_kernel, grid, qkv, table, out, sums, *plan.sizes, **plan.keys_of_tiles())
    return out, sums


def _fake_backward(
    qkv: Tensor,
    bias: Tensor | None,
    out: Tensor,
    sums: Tensor,
    grad: Tensor,
    kernel: Sequence[int],
    dilation: Sequence[int],
    stride: Sequence[int],
    causal: Sequence[bool],
) -> tuple[Tensor, Tensor]:
    return qkv.new_empty(qkv.shape), sums.new_empty([0] if bias is None else bias.shape)


@operator("neighborhood_attention_backward", _fake_backward)
def neighborhood_attention_backward(
    qkv: Tensor,
    bias: Tensor | None,
    out: Tensor,
    sums: Tensor,
    grad: Tensor,
    kernel: Sequence[int],
    dilation: Sequence[int],
    stride: Sequence[int],
    causal: Sequence[bool],
) -> tuple[Tensor, Tensor]:
    """Return the gradients of qkv and of the bias, which is empty where there is none, for that of the output."""
    grad_qkv, grad_bias = _fake_backward(qkv, bias, out, sums, grad, kernel, dilation, stride, causal)
    qkv, grad, table = qkv.contiguous(), grad.contiguous(), sums if bias is None else bias.contiguous()
    inner = sums.new_empty(sums.shape)
    plan = _Plan(qkv, bias is not None, kernel, dilation, stride, causal)
    grid = (plan.tiles * qkv.shape[5], len(qkv))
    operands = qkv, table, out, grad, sums, inner, grad_qkv, *plan.sizes
    launch(query_gradient_kernel, grid, *operands, **plan.keys_of_tiles())
    operands = qkv, table, grad, sums, inner, grad_qkv, *plan.sizes
    launch(key_gradient_kernel, grid, *operands, **plan.queries_of_tiles())
    if bias is not None:
        _sum_bias_gradient(plan, (qkv, table, grad, sums, inner), grad_bias)
    return grad_qkv, grad_bias


def _sum_bias_gradient(plan: _Plan, operands: tuple[Tensor, ...], grad_bias: Tensor) -> None:
    """Fill the gradient of the bias, (h, offsets)."""
    constants, heads = plan.pairs_of_tiles(), len(grad_bias)
    rows, columns = constants["R"], constants["N"]
    blocks = triton.cdiv(prod(constants[f"E{axis}"] for axis in range(3)), columns)
    items = plan.tiles * len(operands[0])
    run = triton.cdiv(items, max(1, PROGRAMS // (heads * blocks)))
    runs = triton.cdiv(items, run)
    pairs = grad_bias.new_empty([runs, heads, rows, blocks * columns])
    launch(
        pair_gradient_kernel, (blocks, heads, runs), *operands, pairs, *plan.sizes, plan.tiles, items, run, **constants
    )
    kept = {name: value for name, value in constants.items() if name[0] in "KTER" and name != "PRECISION"}
    grid = (grad_bias[0].numel(), heads)
    launch(
        bias_gradient_kernel, grid, pairs, grad_bias, heads, runs, blocks * columns, **kept, num_warps=2, num_stages=1
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    qkv, bias, *ctx.settings = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(qkv, bias, *output)


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    grad_qkv, grad_bias = neighborhood_attention_backward(*ctx.saved_tensors, grad, *ctx.settings)
    return grad_qkv, None if ctx.saved_tensors[1] is None else grad_bias, None, None, None, None


neighborhood_attention.register_autograd(_backward, setup_context=_save)
