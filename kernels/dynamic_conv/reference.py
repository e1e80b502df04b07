"""Dynamic depth-wise convolution in plain PyTorch: the equation, its gradient, the CPU path and the export path.

    y[n, g, c, h, w] = sum over p, q of kernels[n, g, p k + q, h, w] * x[n, g, c, h + p - k//2, w + q - k//2]

with x = 0 outside. One shifted multiply-add per tap: no k*k copies of the image exist at any time.
Where the kernels are themselves a linear map of a few features, kernels[n, g, t] = sum over m of weight[g, t, m] *
features[n, m], they are made for some groups at a time, so that they never exist whole either.
Shapes: N batch, G kernels per position, c channels per kernel, H W pixels, T = k*k taps, M features.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def dynamic_conv2d(x: Tensor, kernels: Tensor) -> Tensor:
    """Return the dynamic depth-wise convolution of `x`; scripts, traces and exports at any size.

    Args:
        x: (N, C, H, W) with C = G c, the c channels of one kernel neighbours.
        kernels: (N, G, T, H, W), one k x k kernel per group and position, rows before columns.
    """
    groups, side = kernels.shape[1], _side(kernels.shape[2])
    height, width = x.shape[2], x.shape[3]
    padded = _padded(x, groups, side)
    y = torch.zeros_like(padded[..., :height, :width], memory_format=torch.contiguous_format)
    taps = kernels.unsqueeze(2).unbind(3)
    for row in range(side):
        rows = padded[..., row : row + height, :]  # sliced once for its taps: an exported graph is a quarter smaller so
        for column in range(side):
            y.addcmul_(rows[..., column : column + width], taps[row * side + column])
    return y.flatten(1, 2)


def dynamic_conv2d_gradients(x: Tensor, kernels: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of `x` and `kernels` for that of the output, (N, C, H, W)."""
    groups, side = kernels.shape[1], _side(kernels.shape[2])
    height, width = x.shape[2], x.shape[3]
    padded = _padded(x, groups, side)
    grad = grad.unflatten(1, (groups, -1))
    grad_padded = torch.zeros_like(padded)
    grad_kernels = torch.empty_like(kernels)
    products = torch.empty_like(grad)
    for tap in range(side * side):
        row, column = tap // side, tap % side
        window = (..., slice(row, row + height), slice(column, column + width))
        grad_padded[window].addcmul_(grad, kernels[:, :, tap].unsqueeze(2))
        torch.mul(grad, padded[window], out=products)
        torch.sum(products, 2, out=grad_kernels[:, :, tap])
    margin = side // 2
    inner = grad_padded[..., margin : margin + height, margin : margin + width]
    return inner.flatten(1, 2), grad_kernels


def predicted_conv2d(x: Tensor, features: Tensor, weight: Tensor, at_once: int) -> Tensor:
    """Return the dynamic depth-wise convolution of `x` by the kernels that `weight` makes of `features`.

    Args:
        x: (N, C, H, W) with C = G c, the c channels of one kernel neighbours.
        features: (N, M, H, W).
        weight: (G, T, M).
        at_once: groups whose kernels are made at the same time.
    """
    outputs: list[Tensor] = []
    for first in range(0, weight.shape[0], at_once):
        kernels = kernels_of(features, weight[first : first + at_once])
        outputs.append(dynamic_conv2d(_channels(x, weight.shape[0], first, at_once), kernels))
    return torch.cat(outputs, 1)


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
        return dynamic_conv2d_gradients(*ctx.saved_tensors, grad.contiguous())


class PredictedConv2d(torch.autograd.Function):
    """`predicted_conv2d` with its gradient written out; the kernels are made again in the backward pass."""

    @staticmethod
    def forward(x: Tensor, features: Tensor, weight: Tensor, at_once: int) -> Tensor:
        """Return (N, C, H, W) from (N, C, H, W), (N, M, H, W) and (G, T, M)."""
        return predicted_conv2d(x, features, weight, at_once)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:
        """Keep the inputs for the backward pass."""
        ctx.save_for_backward(*inputs[:3])
        ctx.at_once = inputs[3]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of `x`, `features` and `weight` for the output's gradient (N, C, H, W)."""
        x, features, weight = ctx.saved_tensors
        groups, at_once = weight.shape[0], ctx.at_once
        grad = grad.contiguous()
        grad_x, grad_weight, grad_features = [], [], torch.zeros_like(features)
        for first in range(0, groups, at_once):
            part = weight[first : first + at_once]
            kernels = kernels_of(features, part)
            inputs = (_channels(tensor, groups, first, at_once) for tensor in (x, grad))
            grad_part, grad_kernels = dynamic_conv2d_gradients(next(inputs), kernels, next(inputs))
            more, grad_matrices = prediction_gradients(features, part, grad_kernels)
            grad_x.append(grad_part)
            grad_weight.append(grad_matrices)
            grad_features += more
        return torch.cat(grad_x, 1), grad_features, torch.cat(grad_weight), None


def kernels_of(features: Tensor, weight: Tensor) -> Tensor:
    """Return the kernels (N, G, T, H, W) from (N, M, H, W) and (G, T, M)."""
    # A broadcast matmul would put the taps last in memory, where a tap is not one piece.
    matrices = weight.flatten(0, 1).expand(features.shape[0], -1, -1)
    kernels = torch.bmm(matrices, features.flatten(2))
    return kernels.unflatten(2, features.shape[2:]).unflatten(1, weight.shape[:2])


def prediction_gradients(features: Tensor, weight: Tensor, grad_kernels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the features and their weight for that of the kernels, (N, G, T, H, W)."""
    grad_flat = grad_kernels.flatten(1, 2).flatten(2)
    matrices = weight.flatten(0, 1).mT.expand(features.shape[0], -1, -1)
    grad_weight = torch.bmm(grad_flat, features.flatten(2).mT).sum(0)
    return torch.bmm(matrices, grad_flat).view_as(features), grad_weight.view_as(weight)


def _channels(x: Tensor, groups: int, first: int, count: int) -> Tensor:
    """Return the channels of `count` groups of (N, C, H, W)."""
    width = x.shape[1] // groups
    return x[:, first * width : (first + count) * width]


def _padded(x: Tensor, groups: int, side: int) -> Tensor:
    """Return (N, G, c, H + k - 1, W + k - 1) from (N, C, H, W), zero outside."""
    margin = side // 2
    return F.pad(x, [margin, margin, margin, margin]).unflatten(1, (groups, -1))


def _side(taps: int) -> int:
    return int(math.sqrt(taps) + 0.5)
