"""The kernels of neighbourhood attention's backward pass: gradients of queries, of keys and values, of the bias.

Inside a loop, tuples of constants are written anew where code is chosen by them: triton 3.6 takes those from outside
for values that are known only when it runs.
"""

import triton
import triton.language as tl

from .triton_tiles import (
    across,
    all_askers,
    before,
    box,
    box_end,
    down,
    entries,
    load,
    scores_of,
    seen_from,
    sees,
    store,
    table_of,
    tile_at,
    tokens_at,
    windows_inside,
)

LN_2 = tl.constexpr(0.6931471805599453)


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
        starts, ends = windows_inside(others, there, lengths, (K0, K1, K2), (S0, S1, S2), (C0, C1, C2))
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
    sizes, K, D = (X, Y, Z), (K0, K1, K2), (D0, D1, D2)
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
        corner, far = seen_from(firsts, lasts, lengths, (K0, K1, K2), (S0, S1, S2), (C0, C1, C2))
        # The first of the box that is seen has the number of what lies before the next place, less 1.
        least = box_end(around, (corner[0] + 1, corner[1] + 1, corner[2] + 1), E) - 1
        if (first_number + N > least) & (first_number < box_end(around, far, E)):
            image = (item // tiles).to(tl.int64) * X * Y * Z
            places, others = box(firsts, tl.arange(0, R), T), box(around, numbers, E)
            mine, inside = tokens_at(places, rests, sizes, D), before(places, lengths)
            theirs = tokens_at(others, rests, sizes, D)
            there = before(others, far) & (others[0] >= corner[0]) & (others[1] >= corner[1]) & (others[2] >= corner[2])
            starts, ends = windows_inside(places, inside, lengths, (K0, K1, K2), (S0, S1, S2), (C0, C1, C2))
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
