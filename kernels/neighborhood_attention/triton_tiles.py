"""What the kernels of neighbourhood attention share: tiles and boxes of places, who sees whom, scores.

A place is counted in steps of the dilation, inside the dilation group. A tuple has one value for each axis.
Source: Hassani et al. 2023 (arXiv 2204.07143), 2022 (2209.15001: dilation), 2025 (2504.16922: stride, and tiles of
queries with the box of their keys).
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


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
