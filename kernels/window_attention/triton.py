"""Attention inside windows as Triton kernels; `reference` has the equation.

Padding, cyclic shift and the cut into windows are arithmetic on the places of tokens in the map, so that no copy of the
map in windows exists, and no mask: tokens that only the shift has brought together are told apart by their places.
Scores exist in blocks alone, and are made again in the backward pass from the logarithms of the sums that the forward
pass leaves (Dao et al. 2022, FlashAttention, arXiv 2205.14135). With dO given, in each window:

    P = softmax(S);  dV = P^T dO;  dP = dO V^T;  dS = P (dP - rowsum(dP P));  rowsum(dP P) = rowsum(dO O)
    dQ = dS K / sqrt(d);  dK = dS^T Q / sqrt(d);  dbias = sum of dS over the windows

A program of the bias's gradient sums over a run of windows in registers and keeps its sum for itself; the sums are
added up in one order, so that results repeat bit by bit. A window that is one block has all gradients from one program;
a larger one needs its blocks once for the queries, once for the keys and once for the bias.

Shapes: B batch, N tokens of a window, h heads of d channels; a map of (L, H, W) tokens, L = 1 where it has two axes.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from ..launch import launch, needs_wide, operator, precision, width
from .layout import WindowLayout
from .triton_backward import bias_gradient_kernel, key_gradient_kernel, query_gradient_kernel, window_gradient_kernel
from .triton_forward import forward_kernel
from .triton_windows import LOG2_E

ROWS = {2: 64, 4: 32, 8: 32}
"""Tokens of a block at most, by the bytes of a sample: exact products of float32 need registers."""
WIDEST = 128
"""Channels of a head that fit into a program; with more than half of them blocks are half as long."""
PROGRAMS = 1024
"""That many keep a GPU busy, and leave few sums."""


def obstacle(d: int, layout: WindowLayout, drop: float) -> str:
    """Say why the kernels cannot take heads of `d` channels in these windows; "" if they can."""
    if len(layout.window) > 3:
        return f"maps of {len(layout.window)} axes do not fit, those of at most 3 do"
    if d > WIDEST:
        return f"heads of {d} channels do not fit, at most {WIDEST} do"
    if layout.multiple is not None:
        return "it pads to no more than whole windows"
    if layout.dilated and max(layout.shift) > 0:
        return "it does not shift windows that are spread over the map"
    return "it drops no attention weights" if drop > 0 else ""


def _layout(window: list[int], shift: list[int], dilated: bool, roll_first: bool, mask_padding: bool) -> WindowLayout:
    """Return a layout over three axes, of which the first may be one of a single token."""
    missing = 3 - len(window)
    return WindowLayout([1] * missing + window, [0] * missing + shift, dilated, roll_first, mask_padding)


def _sizes(qkv: Tensor) -> list[int]:
    return [1] * (7 - qkv.dim()) + list(qkv.shape[1:-3])


def _windows(qkv: Tensor, layout: WindowLayout) -> int:
    """Return the windows of a batch."""
    return len(qkv) * prod(triton.cdiv(*each) for each in zip(_sizes(qkv), layout.window, strict=True))


def _scalars(qkv: Tensor, layout: WindowLayout) -> tuple[Any, ...]:
    heads, d = qkv.shape[-2:]
    return heads, d**-0.5, *_sizes(qkv), *layout.shift


def _constants(qkv: Tensor, layout: WindowLayout) -> dict[str, Any]:
    N, BD = prod(layout.window), width(qkv.shape[-1])
    R = min(ROWS[qkv.itemsize] // (1 if BD <= WIDEST // 2 else 2), width(N))
    constants = dict(zip(("SIDE_L", "SIDE_H", "SIDE_W"), layout.window, strict=True))
    constants |= {"DILATED": layout.dilated, "ROLL_FIRST": layout.roll_first, "R": R, "d": qkv.shape[-1], "BD": BD}
    hidden = layout.mask_padding and _is_padded(qkv, layout)
    constants |= {"M": triton.cdiv(N, R) * R, "SHIFTED": max(layout.shift) > 0, "MASK_PADDING": hidden}
    constants |= {"PRECISION": precision(qkv), "WIDE": needs_wide(qkv)}
    if qkv.itemsize > 2:
        return constants | {"num_warps": max(R // 4, BD // 16), "num_stages": 1}
    # Rows that are no whole 16 bytes need registers for their addresses, and more where blocks are loaded in advance.
    stages = 1 if N > R and qkv.shape[-1] % 8 else 2
    return constants | {"num_warps": R // 16 if BD <= 32 else R // 8, "num_stages": stages}


def _table(bias: Tensor | None, M: int) -> Tensor | None:
    """Return a bias (h, N, N) in base 2 with rows of M, whole blocks, which are loaded as such."""
    if bias is None:
        return None
    return F.pad(bias.to(torch.float32) * LOG2_E.value, [0, M - bias.shape[2]]).contiguous()


def _fill(fill: Tensor | None, qkv: Tensor, layout: WindowLayout) -> Tensor | None:
    """Return what padding has; None where there is none."""
    return None if fill is None or not _is_padded(qkv, layout) else fill.contiguous()


def _is_padded(qkv: Tensor, layout: WindowLayout) -> bool:
    return any(size % side != 0 for size, side in zip(_sizes(qkv), layout.window, strict=True))


def _fake(
    qkv: Tensor,
    bias: Tensor | None,
    fill: Tensor | None,
    window: list[int],
    shift: list[int],
    dilated: bool,
    roll_first: bool,
    mask_padding: bool,
) -> tuple[Tensor, Tensor]:
    windows = _windows(qkv, _layout(window, shift, dilated, roll_first, mask_padding))
    sums = qkv.new_empty([windows, qkv.shape[-2], prod(window)], dtype=torch.float32)
    return qkv.new_empty(qkv.shape[:-3] + qkv.shape[-2:]), sums


@operator("window_attention", _fake)
def window_attention(
    qkv: Tensor,
    bias: Tensor | None,
    fill: Tensor | None,
    window: list[int],
    shift: list[int],
    dilated: bool,
    roll_first: bool,
    mask_padding: bool,
) -> tuple[Tensor, Tensor]:
    """Return the mixed values (B, *spatial, h, d), and base-2 logarithms of the sums of exponentials, float32.

    Args:
        qkv: (B, *spatial, 3, h, d), at most 3 axes, d at most `WIDEST`.
        bias: (h, N, N), or None.
        fill: (3, h, d), what padding has for queries, keys and values; None for zeros.
        window: see `WindowLayout`, as for all that follow.
        shift: as long as `window`.
        dilated: a bool.
        roll_first: a bool.
        mask_padding: a bool.
    """
    layout = _layout(window, shift, dilated, roll_first, mask_padding)
    qkv, constants = qkv.contiguous(), _constants(qkv, layout)
    out, sums = _fake(qkv, bias, fill, window, shift, dilated, roll_first, mask_padding)
    operands = qkv, _table(bias, constants["M"]), _fill(fill, qkv, layout), out, sums
    grid = (sums.shape[0] * sums.shape[1] * constants["M"] // constants["R"],)
    launch(forward_kernel, grid, *operands, *_scalars(qkv, layout), **constants)
    return out, sums


def _fake_backward(
    qkv: Tensor,
    bias: Tensor | None,
    fill: Tensor | None,
    out: Tensor,
    sums: Tensor,
    grad: Tensor,
    window: list[int],
    shift: list[int],
    dilated: bool,
    roll_first: bool,
    mask_padding: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    nothing = [0]
    grad_bias = qkv.new_empty(nothing) if bias is None else bias.new_empty(bias.shape)
    grad_fill = qkv.new_empty(nothing) if fill is None else fill.new_empty(fill.shape)
    return qkv.new_empty(qkv.shape), grad_bias, grad_fill


@operator("window_attention_backward", _fake_backward)
def window_attention_backward(
    qkv: Tensor,
    bias: Tensor | None,
    fill: Tensor | None,
    out: Tensor,
    sums: Tensor,
    grad: Tensor,
    window: list[int],
    shift: list[int],
    dilated: bool,
    roll_first: bool,
    mask_padding: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of qkv, bias and fill for that of the output; empty ones for None."""
    layout = _layout(window, shift, dilated, roll_first, mask_padding)
    qkv, grad, constants, scalars = qkv.contiguous(), grad.contiguous(), _constants(qkv, layout), _scalars(qkv, layout)
    (windows, heads, N), d = sums.shape, qkv.shape[-1]
    blocks = constants["M"] // constants["R"]
    table, padding, grad_qkv = _table(bias, constants["M"]), _fill(fill, qkv, layout), qkv.new_empty(qkv.shape)
    run = triton.cdiv(windows, min(windows, triton.cdiv(PROGRAMS, heads * blocks * blocks)))
    groups = triton.cdiv(windows, run)
    parts = None if bias is None else sums.new_empty([groups, heads, N, constants["M"]])
    fills = None if padding is None else sums.new_empty([windows * blocks, heads, 2, d])
    if blocks == 1:
        operands = qkv, table, padding, grad, sums, grad_qkv, parts, fills, windows, run
        if constants["R"] == ROWS[2] and (d % 8 or padding is not None):  # which need registers, see `_constants`
            constants |= {"num_warps": 8, "num_stages": 1}
        launch(window_gradient_kernel, (groups * heads,), *operands, *scalars, **constants)
    else:
        grid, inner = (windows * heads * blocks,), sums.new_empty(sums.shape)
        operands = qkv, table, padding, out.contiguous(), grad, sums, grad_qkv, inner
        launch(query_gradient_kernel, grid, *operands, *scalars, **constants)
        operands = qkv, table, padding, grad, sums, inner, grad_qkv, fills
        launch(key_gradient_kernel, grid, *operands, *scalars, **constants)
        if parts is not None:
            operands = qkv, table, padding, grad, sums, inner, parts, windows, run
            launch(bias_gradient_kernel, (groups * heads * blocks**2,), *operands, *scalars, **constants)
    return grad_qkv, _bias_gradient(qkv, bias, parts), _fill_gradient(qkv, fill, fills)


def _bias_gradient(qkv: Tensor, bias: Tensor | None, parts: Tensor | None) -> Tensor:
    """Sum (groups, h, N, M) up."""
    if bias is None or parts is None:
        return qkv.new_empty([0])
    return parts.sum(0)[..., : bias.shape[2]].to(bias.dtype).contiguous()


def _fill_gradient(qkv: Tensor, fill: Tensor | None, parts: Tensor | None) -> Tensor:
    """Sum (blocks, h, 2, d) up; nobody sees the queries of padding."""
    if fill is None:
        return qkv.new_empty([0])
    if parts is None:
        return fill.new_zeros(fill.shape)
    return F.pad(parts.sum(0).transpose(0, 1), [0, 0, 0, 0, 1, 0]).to(fill.dtype).contiguous()


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs[:3], *output)
    ctx.layout = inputs[3:]


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    gradients = window_attention_backward(*saved, grad, *ctx.layout)
    wanted = [None if each is None else gradient for each, gradient in zip(saved, gradients, strict=False)]
    return *wanted, *(None for _ in ctx.layout)


window_attention.register_autograd(_backward, setup_context=_save)
