"""Gated attention over the instances of a bag as Triton kernels; `reference` has the equations.

Forward, a program has a block of instances: it makes their gates and scores, and pools them by the exponentials of the
scores less the block's highest. What the blocks pool is merged as in split-KV decoding (Dao et al. 2023,
Flash-Decoding), so that the instances are read from memory once. Which scores are masked is known only after that: the
few blocks that hold one are pooled again, and replace their parts. (The masked are the largest terms; they cannot be
subtracted.)
Backward, a program makes the gates of its block again, and writes the gradient of what they squash, beside the
exponentials: with these factors the gradients of instances and gates are two plain products of matrices.

Shapes: N instances, C their channels, L hidden channels, K branches, R instances of a block.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..blocks import load, store
from ..launch import launch, needs_wide, operator, precision, width
from . import reference
from .reference import MASKED

ROWS = {2: 128, 4: 64, 8: 64}
"""Instances of a block, by the bytes of a sample: exact products of float32 need registers."""
MOST_HIDDEN = {2: 128, 4: 32, 8: 32}
"""Hidden channels that a program holds at once, of both gates, likewise."""
MOST_HIDDEN_BACKWARD = {2: 64, 4: 32, 8: 32}
"""The same in the backward pass, where their gradients stand beside the gates."""
CHANNELS = 32
"""Channels that are multiplied at once; more spill registers."""
WARPS = 8
BRANCHES = 16
"""The most branches, and as many as matrix units need."""
MERGED = 64
"""Blocks that are merged at once."""
LOG2_E = tl.constexpr(1.4426950408889634)
NO_SCORE = tl.constexpr(MASKED)


@triton.jit
def gates_of(
    patches, gates, bias, rows, hidden, N, C, L,
    R: tl.constexpr, BC: tl.constexpr, BL: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Return tanh and sigmoid of some hidden channels: two blocks (R, BL)."""
    content, gate = tl.zeros([R, BL], tl.float32), tl.zeros([R, BL], tl.float32)
    for start in range(0, C, BC):
        channels = start + tl.arange(0, BC)
        block = load(patches, rows, channels, N, C, C, WIDE)
        first, second = (
            load(gates, hidden, channels, L, C, C, WIDE),
            load(gates + L * C, hidden, channels, L, C, C, WIDE),
        )
        content = tl.dot(block, tl.trans(first), content, input_precision=PRECISION)
        gate = tl.dot(block, tl.trans(second), gate, input_precision=PRECISION)
    content += tl.load(bias + hidden, mask=hidden < L, other=0.0)[None, :]
    gate += tl.load(bias + L + hidden, mask=hidden < L, other=0.0)[None, :]
    return 2 * tl.sigmoid(2 * content) - 1, tl.sigmoid(gate)


@triton.jit
def load_scores(scores, rows, branches, N, K, other):
    """Load a block (R, BK) of scores (K, N)."""
    inside = (rows < N)[:, None] & (branches < K)[None, :]
    return tl.load(scores + branches[None, :].to(tl.int64) * N + rows[:, None], mask=inside, other=other)


@triton.jit
def pool_block(
    patches, found, highest, totals, mixed, block, rows, branches, N, C, K,
    BC: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Pool one block by its scores (R, BK): store the highest (K,), the sum of exponentials (K,), the sums (K, C)."""
    found = tl.where((rows < N)[:, None], found, float("-inf"))
    top = tl.max(found, 0)
    weights = tl.exp2((found - top[None, :]) * LOG2_E)  # subtracted first: scores that are masked must cancel exactly
    tl.store(highest + block * K + branches, top, mask=branches < K)
    tl.store(totals + block * K + branches, tl.sum(weights, 0), mask=branches < K)
    for start in range(0, C, BC):
        channels = start + tl.arange(0, BC)
        values = load(patches, rows, channels, N, C, C, WIDE)
        part = tl.dot(tl.trans(weights).to(values.dtype), values, input_precision=PRECISION)
        store(mixed + block.to(tl.int64) * K * C, part, branches, channels, K, C, C)


@triton.jit
def forward_kernel(
    patches, gates, gates_bias, score, score_bias, scores, highest, totals, mixed, N, C, L, K,
    R: tl.constexpr, BC: tl.constexpr, BL: tl.constexpr, BK: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One block of instances: its scores, and what it pools."""
    block = tl.program_id(0)
    rows, branches = block * R + tl.arange(0, R), tl.arange(0, BK)
    found = tl.zeros([R, BK], tl.float32)
    for start in range(0, L, BL):
        hidden = start + tl.arange(0, BL)
        content, gate = gates_of(patches, gates, gates_bias, rows, hidden, N, C, L, R, BC, BL, PRECISION, WIDE)
        weights = load(score, branches, hidden, K, L, L, WIDE)
        found = tl.dot((content * gate).to(weights.dtype), tl.trans(weights), found, input_precision=PRECISION)
    found += tl.load(score_bias + branches, mask=branches < K, other=0.0)[None, :]
    inside = (rows < N)[:, None] & (branches < K)[None, :]
    tl.store(scores + branches[None, :].to(tl.int64) * N + rows[:, None], found, mask=inside)
    pool_block(patches, found, highest, totals, mixed, block, rows, branches, N, C, K, BC, PRECISION, WIDE)


@triton.jit
def masked_kernel(
    patches, scores, instances, highest, totals, mixed, N, C, K,
    R: tl.constexpr, BC: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The block of one masked instance, again; some programs may do the same, and store the same."""
    block = (tl.load(instances + tl.program_id(0)) // R).to(tl.int32)
    rows, branches = block * R + tl.arange(0, R), tl.arange(0, BK)
    found = load_scores(scores, rows, branches, N, K, 0.0)
    pool_block(patches, found, highest, totals, mixed, block, rows, branches, N, C, K, BC, PRECISION, WIDE)


@triton.jit
def merge_kernel(highest, totals, mixed, pooled, top, total, blocks, C, K, BB: tl.constexpr, BC: tl.constexpr):
    """Some channels of one branch, of all blocks; with the highest score (K,) and the sum of exponentials (K,)."""
    branch, channels = tl.program_id(0), tl.program_id(1) * BC + tl.arange(0, BC)
    above, count = tl.full([1], float("-inf"), tl.float32), tl.zeros([1], tl.float32)
    found = tl.zeros([BC], tl.float32)
    for start in range(0, blocks, BB):
        places = start + tl.arange(0, BB)
        tops = tl.load(highest + places * K + branch, mask=places < blocks, other=float("-inf"))
        sums = tl.load(totals + places * K + branch, mask=places < blocks, other=0.0)
        values = load(mixed + branch * C, places, channels, blocks, C, K * C, False)
        higher = tl.maximum(above, tl.max(tops, 0))
        shrink, weights = tl.exp2((above - higher) * LOG2_E), tl.exp2((tops - higher) * LOG2_E)
        found = found * shrink + tl.sum(weights[:, None] * values, 0)
        count = count * shrink + tl.sum(weights * sums, 0)
        above = higher
    tl.store(pooled + branch * C + channels, (found / count).to(pooled.dtype.element_ty), mask=channels < C)
    if tl.program_id(1) == 0:
        tl.store(top + branch + tl.arange(0, 1), above)
        tl.store(total + branch + tl.arange(0, 1), count)


@triton.jit
def backward_kernel(
    patches, gates, gates_bias, score, scores, top, total, grad_pooled, inner, grad_scores,
    factors, grad_score, grad_gates_bias, grad_score_bias, N, C, L, K,
    R: tl.constexpr, BC: tl.constexpr, BL: tl.constexpr, BK: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One block of instances: its factors (R, 2L + BK), and its part of the other gradients."""
    block = tl.program_id(0)
    rows, branches = block * R + tl.arange(0, R), tl.arange(0, BK)
    wide = 2 * L + BK
    found = load_scores(scores, rows, branches, N, K, float("-inf"))
    above = tl.load(top + branches, mask=branches < K, other=0.0)
    count = tl.load(total + branches, mask=branches < K, other=1.0)
    weights = tl.exp2((found - above[None, :]) * LOG2_E)
    store(factors + 2 * L, weights, rows, branches, N, BK, wide)
    along = tl.zeros([R, BK], tl.float32)
    for start in range(0, C, BC):
        channels = start + tl.arange(0, BC)
        block_of = load(patches, rows, channels, N, C, C, WIDE)
        directions = load(grad_pooled, branches, channels, K, C, C, WIDE)
        along = tl.dot(block_of, tl.trans(directions), along, input_precision=PRECISION)
    along -= tl.load(inner + branches, mask=branches < K, other=0.0)[None, :]
    grads = weights / count[None, :] * along + load_scores(grad_scores, rows, branches, N, K, 0.0)
    grads = tl.where(found > NO_SCORE, grads, 0.0)  # neither masked nor outside
    tl.store(grad_score_bias + block * K + branches, tl.sum(grads, 0), mask=branches < K)
    for start in range(0, L, BL):
        hidden = start + tl.arange(0, BL)
        content, gate = gates_of(patches, gates, gates_bias, rows, hidden, N, C, L, R, BC, BL, PRECISION, WIDE)
        scorer = load(score, branches, hidden, K, L, L, WIDE)
        of_score = tl.dot(
            tl.trans(grads).to(scorer.dtype), (content * gate).to(scorer.dtype), input_precision=PRECISION
        )
        store(grad_score + block.to(tl.int64) * K * L, of_score, branches, hidden, K, L, L)
        of_gated = tl.dot(grads.to(scorer.dtype), scorer, input_precision=PRECISION)
        of_content, of_gate = of_gated * gate * (1 - content * content), of_gated * content * gate * (1 - gate)
        store(factors, of_content, rows, hidden, N, L, wide)
        store(factors + L, of_gate, rows, hidden, N, L, wide)
        sums = grad_gates_bias + block.to(tl.int64) * 2 * L + hidden
        tl.store(sums, tl.sum(of_content, 0), mask=hidden < L)
        tl.store(sums + L, tl.sum(of_gate, 0), mask=hidden < L)


def obstacle(score: Tensor) -> str:
    """Say why the kernels cannot take these operands; "" if they can."""
    return f"{score.shape[0]} branches do not fit, at most {BRANCHES} do" if score.shape[0] > BRANCHES else ""


def _constants(patches: Tensor, score: Tensor, most_hidden: dict[int, int]) -> dict[str, Any]:
    size = patches.itemsize
    blocks = {"R": ROWS[size], "BC": CHANNELS, "BL": min(most_hidden[size], width(score.shape[1]))}
    traits = {"BK": BRANCHES, "PRECISION": precision(patches), "WIDE": needs_wide(patches)}
    return blocks | traits | {"num_warps": WARPS, "num_stages": 2}


def _fake(
    patches: Tensor,
    gates: Tensor,
    gates_bias: Tensor,
    score: Tensor,
    score_bias: Tensor,
    top_k: int,
    ranks: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    branches, single = score.shape[0], torch.float32
    pooled = patches.new_empty(branches, patches.shape[1])
    scores = patches.new_empty(branches, patches.shape[0], dtype=single)
    return pooled, scores, patches.new_empty(branches, dtype=single), patches.new_empty(branches, dtype=single)


@operator("gated_attention_pool", _fake)
def gated_attention_pool(
    patches: Tensor,
    gates: Tensor,
    gates_bias: Tensor,
    score: Tensor,
    score_bias: Tensor,
    top_k: int,
    ranks: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what is pooled (K, C), the scores (K, N), a branch's highest (K,), its sum of exponentials less that (K,).

    Args:
        patches: (N, C).
        gates: (2L, C), V above U.
        gates_bias: (2L,), float32.
        score: (K, L), K at most `BRANCHES`.
        score_bias: (K,), float32.
        top_k: among how many of the highest scores `ranks` count.
        ranks: (K, m) of the scores that are masked; None masks none.
    """
    patches, gates, score = patches.contiguous(), gates.contiguous(), score.contiguous()
    pooled, scores, top, total = _fake(patches, gates, gates_bias, score, score_bias, top_k, ranks)
    (N, C), (K, L), constants = patches.shape, score.shape, _constants(patches, score, MOST_HIDDEN)
    blocks = triton.cdiv(N, constants["R"])
    highest, totals = top.new_empty(blocks, K), top.new_empty(blocks, K)
    mixed = top.new_empty(blocks, K, C)
    operands = patches, gates, gates_bias.contiguous(), score, score_bias.contiguous()
    launch(forward_kernel, (blocks,), *operands, scores, highest, totals, mixed, N, C, L, K, **constants)
    if ranks is not None and ranks.shape[1] > 0:
        masked = reference.ranked(scores, top_k, ranks).contiguous()
        scores.scatter_(1, masked, MASKED)
        few = {name: value for name, value in constants.items() if name != "BL"}
        launch(masked_kernel, (masked.numel(),), patches, scores, masked, highest, totals, mixed, N, C, K, **few)
    grid, sizes = (K, triton.cdiv(C, 32)), {"BB": MERGED, "BC": 32, "num_warps": 4, "num_stages": 2}
    launch(merge_kernel, grid, highest, totals, mixed, pooled, top, total, blocks, C, K, **sizes)
    return pooled, scores, top, total


def _fake_backward(
    patches: Tensor,
    gates: Tensor,
    gates_bias: Tensor,
    score: Tensor,
    pooled: Tensor,
    scores: Tensor,
    top: Tensor,
    total: Tensor,
    grad_pooled: Tensor,
    grad_scores: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    weights = patches.new_empty(patches.shape), gates.new_empty(gates.shape), top.new_empty(gates_bias.shape)
    return *weights, score.new_empty(score.shape), top.new_empty(top.shape)


@operator("gated_attention_pool_backward", _fake_backward)
def gated_attention_pool_backward(
    patches: Tensor,
    gates: Tensor,
    gates_bias: Tensor,
    score: Tensor,
    pooled: Tensor,
    scores: Tensor,
    top: Tensor,
    total: Tensor,
    grad_pooled: Tensor,
    grad_scores: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of instances, gates, their bias, scorer and its bias for those of pooled and scores."""
    patches, gates, score = patches.contiguous(), gates.contiguous(), score.contiguous()
    grad_pooled, grad_scores = grad_pooled.contiguous(), grad_scores.contiguous()
    (N, C), (K, L) = patches.shape, score.shape
    constants = _constants(patches, score, MOST_HIDDEN_BACKWARD)
    blocks = triton.cdiv(N, constants["R"])
    inner = (grad_pooled.float() * pooled.float()).sum(1)
    factors = patches.new_empty(N, 2 * L + BRANCHES)
    of_score, of_gates_bias = top.new_empty(blocks, K, L), top.new_empty(blocks, 2 * L)
    of_score_bias = top.new_empty(blocks, K)
    operands = patches, gates, gates_bias.contiguous(), score, scores, top, total, grad_pooled, inner, grad_scores
    results = factors, of_score, of_gates_bias, of_score_bias
    launch(backward_kernel, (blocks,), *operands, *results, N, C, L, K, **constants)
    directions = (grad_pooled.float() / total[:, None]).to(patches.dtype)
    stacked = torch.cat([gates, directions, directions.new_zeros(BRANCHES - K, C)])
    grad_gates = factors[:, : 2 * L].t() @ patches
    return factors @ stacked, grad_gates, of_gates_bias.sum(0), of_score.sum(0).to(score.dtype), of_score_bias.sum(0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(*output[2:])
    ctx.save_for_backward(*inputs[:4], *output)


def _backward(ctx: Any, grad_pooled: Tensor, grad_scores: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    return *gated_attention_pool_backward(*ctx.saved_tensors, grad_pooled, grad_scores), None, None


gated_attention_pool.register_autograd(_backward, setup_context=_save)
