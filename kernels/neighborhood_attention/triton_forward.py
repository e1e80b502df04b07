"""The kernel of neighbourhood attention's forward pass: tiles of queries that go through the boxes of their keys."""

import triton
import triton.language as tl

from .triton_tiles import (
    across,
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

LOWEST = tl.constexpr(-3e38)


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
