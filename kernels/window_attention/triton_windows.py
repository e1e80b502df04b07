"""What the kernels of attention inside windows share: the tokens of windows, loads and stores, scores."""

import triton
import triton.language as tl

from .layout import PENALTY

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
