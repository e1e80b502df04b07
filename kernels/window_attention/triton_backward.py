"""The kernels of the backward pass of attention inside windows: all gradients at once of windows that are one block."""

import triton
import triton.language as tl

from .triton_windows import bias_of, load, load_filled, scores_of, store, store_padding, tokens_of


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
