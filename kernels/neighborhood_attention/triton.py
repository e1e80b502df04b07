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

ROWS = {2: 64, 4: 32, 8: 32}
"""Tokens of a tile and of a block, by the bytes of a sample: exact products of float32 need registers."""
LEAST_ROWS = 16
"""That many matrix units take."""
WIDEST = 128
"""Channels of a head that fit into a program."""
PROGRAMS = 1024
"""That many keep a GPU busy."""
LOG2_E = 1.4426950408889634
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
        scores += tl.load(table + entry, mask=seen, other=0.0) * 1.4426950408889634
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
    head, image = tl.program_id(0) % heads, tl.program_id(1).to(tl.int64)
    rests, firsts, lengths, lasts = tile_at(tl.program_id(0) // heads, sizes, D, T)
    places = box(firsts, tl.arange(0, R), T)
    mine, inside = tokens_at(places, rests, sizes, D), before(places, lengths)
    starts, ends = windows(places, lengths, K, S, C)
    corner, _ = windows(firsts, lengths, K, S, C)
    _, far = windows(lasts, lengths, K, S, C)
    stride = 3 * heads * d
    qkv += image * X * Y * Z * stride + head * d
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
    store(out + (image * X * Y * Z * heads + head) * d, mixed / total[:, None], mine, inside, heads * d, d, BD)
    tl.store(sums + image * X * Y * Z * heads + mine * heads + head, highest + tl.log2(total), mask=inside)


def obstacle(qkv: Tensor) -> str:
    """Say why the kernels cannot take qkv, (B, *spatial, 3, h, d); "" if they can."""
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
        self.sizes = (*spatial, heads, d, d**-0.5 * LOG2_E)
        self.lengths = [triton.cdiv(size, step) for size, step in zip(spatial, dilation, strict=True)]
        self.sides = _sides(self.lengths, ROWS[qkv.itemsize])
        groups = [min(size, step) for size, step in zip(spatial, dilation, strict=True)]
        runs = [triton.cdiv(length, side) for length, side in zip(self.lengths, self.sides, strict=True)]
        self.tiles = prod(groups) * prod(runs)
        self.kernel, self.causal = list(kernel), list(causal)
        self.stride = [min(each, most) for each, most in zip(stride, kernel, strict=True)]
        axes = {"K": self.kernel, "D": dilation, "S": self.stride, "C": self.causal, "T": self.sides}
        self.constants = _by_axis(axes) | {
            "R": prod(self.sides), "N": ROWS[qkv.itemsize], "BD": width(d), "BIASED": biased,
            "PRECISION": precision(qkv), "WIDE": needs_wide(qkv), "num_warps": 4, "num_stages": 2,
        }  # fmt: skip

    def keys_of_tiles(self) -> dict[str, Any]:
        """Return the constants with the greatest box of the keys that a tile of queries sees."""

        def extent(side: int, kernel: int, stride: int, causal: bool) -> int:
            return kernel + (side - 1 if causal else triton.cdiv(side - 1, stride) * stride)

        return self._boxes([extent(*each) for each in self._axes()])

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
