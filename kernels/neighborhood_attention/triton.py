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
from torch import Tensor

from ..launch import launch, needs_wide, operator, precision, width
from .triton_backward import bias_gradient_kernel, key_gradient_kernel, pair_gradient_kernel, query_gradient_kernel
from .triton_forward import forward_kernel
from .triton_tiles import LOG2_E

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


def obstacle(qkv: Tensor) -> str:
    """Say why the kernels cannot take qkv, (B, *spatial, 3, h, d); "" if they can.

    Sums are float32, which would make double precision no more exact; not even the interpreter takes it.
    """
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
    stages = {"num_stages": 2 if bias is None else 1}  # places in the bias need registers, as do blocks in advance
    operands = qkv, table, out, grad, sums, inner, grad_qkv, *plan.sizes
    launch(query_gradient_kernel, grid, *operands, **plan.keys_of_tiles() | stages)
    operands = qkv, table, grad, sums, inner, grad_qkv, *plan.sizes
    launch(key_gradient_kernel, grid, *operands, **plan.queries_of_tiles() | stages)
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
