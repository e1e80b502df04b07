"""Dynamic depth-wise convolution in plain PyTorch: the equation, its gradient, the CPU path and the export path.

    y[n, g, c, h, w] = sum over p, q of kernels[n, g, p k + q, h, w] * x[n, g, c, h + p - k//2, w + q - k//2]

with x = 0 outside. One shifted multiply-add per tap: no k*k copies of the image exist at any time.
Shapes: N batch, G kernels per position, c channels per kernel, H W pixels, T = k*k taps.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def dynamic_conv2d(x: Tensor, kernels: Tensor) -> Tensor:
    """Return the dynamic depth-wise convolution of `x`; scripts, traces and exports at any size.

    Args:
        x: (N, C, H, W) with C = G c, the c channels of one kernel neighbours; contiguous in memory.
        kernels: (N, G, T, H, W), one k x k kernel per group and position, rows before columns; contiguous in memory.
    """
    n, channels, height, width = x.shape
    groups = kernels.shape[1]
    side = _side(kernels.shape[2])
    padded = _padded(x, groups, side)
    taps = kernels.unsqueeze(2).unbind(3)
    y = torch.zeros_like(x).view(n, groups, channels // groups, height, width)
    for row in range(side):
        strip = padded[:, :, :, row : row + height]
        for column in range(side):
            y.addcmul_(strip[..., column : column + width], taps[row * side + column])
    return y.view(n, channels, height, width)


class DynamicConv2d(torch.autograd.Function):
    """`dynamic_conv2d` with its gradient written out, which saves 2 k*k intermediate maps of autograd's own."""

    @staticmethod
    def forward(x: Tensor, kernels: Tensor) -> Tensor:
        """Return (N, C, H, W) from (N, C, H, W) and (N, G, T, H, W)."""
        return dynamic_conv2d(x, kernels)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep the two inputs for the backward pass."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of `x` and `kernels` for the output's gradient (N, C, H, W)."""
        x, kernels = ctx.saved_tensors
        n, channels, height, width = x.shape
        groups, taps = kernels.shape[1], kernels.shape[2]
        side = _side(taps)
        padded = _padded(x, groups, side)
        grad = grad.contiguous().view(n, groups, channels // groups, height, width)
        grad_padded = torch.zeros_like(padded)
        grad_kernels = torch.empty_like(kernels)
        for tap in range(taps):
            row, column = tap // side, tap % side
            window = (..., slice(row, row + height), slice(column, column + width))
            grad_padded[window].addcmul_(grad, kernels[:, :, tap].unsqueeze(2))
            grad_tap = grad_kernels[:, :, tap]
            torch.mul(grad[:, :, 0], padded[window][:, :, 0], out=grad_tap)
            for channel in range(1, grad.shape[2]):
                grad_tap.addcmul_(grad[:, :, channel], padded[window][:, :, channel])
        margin = side // 2
        inner = grad_padded[..., margin : margin + height, margin : margin + width]
        return inner.reshape(n, channels, height, width), grad_kernels


def _padded(x: Tensor, groups: int, side: int) -> Tensor:
    """Return (N, G, c, H + k - 1, W + k - 1) from (N, C, H, W), zero outside."""
    n, channels, height, width = x.shape
    margin = side // 2
    padded = F.pad(x, [margin, margin, margin, margin])
    return padded.view(n, groups, channels // groups, height + 2 * margin, width + 2 * margin)


def _side(taps: int) -> int:
    return int(math.sqrt(taps) + 0.5)
