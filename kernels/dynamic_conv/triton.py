"""Dynamic depth-wise convolution as Triton kernels; `reference` has the equations.

A program has a tile of positions and some channels that share a kernel, so that each weight is read once for them. The
gradient of x is the same sum with the tile's neighbours in the opposite places, each with its own weight; that of the
kernels sums over the channels. Nothing is added to memory, so that results repeat bit by bit. Taps are unrolled along a
row of a kernel alone: all at once they spill registers.
Where a 1x1 convolution predicts the kernels they are made again for the backward pass, not kept.

Shapes: N batch, G kernels per position, c channels per kernel, H W pixels, T = k*k taps, M features.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from ..launch import launch, operator
from . import reference

POSITIONS = 128
"""Of a tile: one for each thread."""
MOST_COLUMNS = 32
"""Of a tile: its rows are whole memory transactions, and many enough to share what lies between them."""
MOST_CHANNELS = 16
"""Of a program, each a sum in registers."""
LARGEST = 9
"""Side of a kernel, of which taps are unrolled."""


@triton.jit
def tile_places(tile, W, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the rows and columns of a tile's positions, two vectors."""
    across = tl.cdiv(W, COLUMNS)
    # Neighbours go to one thread each, although the middle taps could be loaded some at once: else the compiler deals
    # channels to warps, and values pass through shared memory at every tap.
    place = tl.max_contiguous(tl.arange(0, ROWS * COLUMNS), 1)
    return tile // across * ROWS + place // COLUMNS, tile % across * COLUMNS + place % COLUMNS


@triton.jit
def load_planes(base, channels, rows, columns, C, H, W):
    """Load positions of some channels of (C, H, W) in float32, zero outside: (channels, positions)."""
    inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    planes = base + channels[:, None].to(tl.int64) * (H * W)
    mask = (channels < C)[:, None] & inside[None, :]
    return tl.load(planes + (rows * W + columns)[None, :], mask=mask, other=0.0).to(tl.float32)


@triton.jit
def convolve_kernel(
    values, kernels, out, C, H, W,
    BC: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SIDE: tl.constexpr, TRANSPOSED: tl.constexpr,
):  # fmt: skip
    """One tile, some channels of a group: y for x, or, transposed, the gradient of x for that of y."""
    parts = tl.cdiv(C, BC)
    group, part, image = tl.program_id(1) // parts, tl.program_id(1) % parts, tl.program_id(2).to(tl.int64)
    group += image * (tl.num_programs(1) // parts)
    rows, columns = tile_places(tl.program_id(0), W, ROWS, COLUMNS)
    channels = part * BC + tl.arange(0, BC)
    weights = kernels + group * (SIDE * SIDE) * (H * W)
    total = tl.zeros([BC, ROWS * COLUMNS], tl.float32)
    for row in range(SIDE):
        for column in tl.static_range(SIDE):
            tap = tl.full([1], row * SIDE + column, tl.int32)
            down, right = row - SIDE // 2, column - SIDE // 2
            if TRANSPOSED:
                down, right = -down, -right
            there, beside = rows + down, columns + right
            near = load_planes(values + group * C * (H * W), channels, there, beside, C, H, W)
            if TRANSPOSED:
                weight = load_planes(weights, tap, there, beside, SIDE * SIDE, H, W)
            else:
                weight = load_planes(weights, tap, rows, columns, SIDE * SIDE, H, W)
            total += near * weight
    mask = (channels < C)[:, None] & ((rows < H) & (columns < W))[None, :]
    planes = out + group * C * (H * W) + channels[:, None].to(tl.int64) * (H * W)
    tl.store(planes + (rows * W + columns)[None, :], total.to(out.dtype.element_ty), mask=mask)


@triton.jit
def kernel_gradient_kernel(
    values, grad, grad_kernels, C, H, W,
    BC: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """One tile of one group: the gradient of each tap, summed over the channels."""
    group = tl.program_id(2).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    rows, columns = tile_places(tl.program_id(0), W, ROWS, COLUMNS)
    channels = tl.arange(0, BC)
    values += group * C * (H * W)
    grad += group * C * (H * W)
    grads = load_planes(grad, channels, rows, columns, C, H, W)  # of the first channels, which are mostly all
    for row in range(SIDE):
        for column in tl.static_range(SIDE):
            there, beside = rows + row - SIDE // 2, columns + column - SIDE // 2
            products = grads * load_planes(values, channels, there, beside, C, H, W)
            for first in range(BC, C, BC):
                more = load_planes(grad, first + channels, rows, columns, C, H, W)
                products += more * load_planes(values, first + channels, there, beside, C, H, W)
            plane = grad_kernels + (group * (SIDE * SIDE) + row * SIDE + column) * (H * W)
            total = tl.sum(products, 0).to(grad_kernels.dtype.element_ty)
            tl.store(plane + rows * W + columns, total, mask=(rows < H) & (columns < W))


def obstacle(taps: int) -> str:
    """Say why the kernels cannot take kernels of so many taps; "" if they can."""
    side = isqrt(taps)
    return f"kernels of side {side} do not fit, at most {LARGEST} do" if side > LARGEST else ""


def _convolve(values: Tensor, kernels: Tensor, transposed: bool) -> Tensor:
    """Return y (N, C, H, W) for x, or, transposed, the gradient of x for that of y."""
    out = values.new_empty(values.shape)
    constants, tiles = _constants(values, kernels)
    groups, channels = kernels.shape[1], values.shape[1] // kernels.shape[1]
    grid = (tiles, groups * triton.cdiv(channels, constants["BC"]), len(values))
    sizes = (channels, *values.shape[2:])
    launch(convolve_kernel, grid, values, kernels, out, *sizes, TRANSPOSED=transposed, **constants)
    return out


def _kernel_gradient(x: Tensor, kernels: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient of the kernels, (N, G, T, H, W), for that of y."""
    out = kernels.new_empty(kernels.shape)
    constants, tiles = _constants(x, kernels)
    groups = kernels.shape[1]
    launch(
        kernel_gradient_kernel, (tiles, groups, len(x)), x, grad, out, x.shape[1] // groups, *x.shape[2:], **constants
    )
    return out


def _constants(x: Tensor, kernels: Tensor) -> tuple[dict[str, Any], int]:
    """Return the constants of a launch, and the tiles of a map."""
    height, width = x.shape[2:]
    columns = min(MOST_COLUMNS, triton.next_power_of_2(width))
    rows = POSITIONS // columns
    channels = min(MOST_CHANNELS, triton.next_power_of_2(x.shape[1] // kernels.shape[1]))
    constants = {"BC": channels, "ROWS": rows, "COLUMNS": columns, "SIDE": isqrt(kernels.shape[2])}
    tiles = triton.cdiv(height, rows) * triton.cdiv(width, columns)
    return constants | {"num_warps": 4, "num_stages": 1}, tiles


def _fake(x: Tensor, kernels: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@operator("dynamic_conv2d", _fake)
def dynamic_conv2d(x: Tensor, kernels: Tensor) -> Tensor:
    """Return the dynamic depth-wise convolution, (N, C, H, W).

    Args:
        x: (N, C, H, W) with C = G c, the c channels of one kernel neighbours.
        kernels: (N, G, T, H, W) with T at most `LARGEST` squared, rows before columns.
    """
    return _convolve(x.contiguous(), kernels.contiguous(), False)


def _fake_backward(x: Tensor, kernels: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), kernels.new_empty(kernels.shape)


@operator("dynamic_conv2d_backward", _fake_backward)
def dynamic_conv2d_backward(x: Tensor, kernels: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of x and the kernels for that of the output."""
    x, kernels, grad = x.contiguous(), kernels.contiguous(), grad.contiguous()
    return _convolve(grad, kernels, True), _kernel_gradient(x, kernels, grad)


def _fake_predicted(x: Tensor, features: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@operator("predicted_conv2d", _fake_predicted)
def predicted_conv2d(x: Tensor, features: Tensor, weight: Tensor) -> Tensor:
    """Return the dynamic depth-wise convolution of `x` by the kernels that `weight` makes of `features`.

    Args:
        x: (N, C, H, W) with C = G c, the c channels of one kernel neighbours.
        features: (N, M, H, W).
        weight: (G, T, M) with T at most `LARGEST` squared, rows before columns.
    """
    return _convolve(x.contiguous(), reference.kernels_of(features.contiguous(), weight), False)


def _fake_predicted_backward(
    x: Tensor, features: Tensor, weight: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), features.new_empty(features.shape), weight.new_empty(weight.shape)


@operator("predicted_conv2d_backward", _fake_predicted_backward)
def predicted_conv2d_backward(
    x: Tensor, features: Tensor, weight: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, features and weight for that of the output."""
    x, features, grad = x.contiguous(), features.contiguous(), grad.contiguous()
    kernels = reference.kernels_of(features, weight)
    grad_x, grad_kernels = _convolve(grad, kernels, True), _kernel_gradient(x, kernels, grad)
    return grad_x, *reference.prediction_gradients(features, weight, grad_kernels)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    return dynamic_conv2d_backward(*ctx.saved_tensors, grad)


def _predicted_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return predicted_conv2d_backward(*ctx.saved_tensors, grad)


dynamic_conv2d.register_autograd(_backward, setup_context=_save)
predicted_conv2d.register_autograd(_predicted_backward, setup_context=_save)
