"""The kernel of the forward pass of attention inside windows."""

import triton
import triton.language as tl

from .triton_windows import bias_of, load, load_filled, scores_of, store, tokens_of


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
