"""Normalisation layers.

PyTorch's batch and instance norm on a CPU give wrong gradients, without a word, for a batch of one whose map comes
from tokens or goes to tokens: the backward pass reads one of its two operands in the wrong order in memory. The layers
here have the same parameters and values, and are immune, as both operands are put in order first.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer norm over the channels at each position of a map (biased variance, affine).

    Args:
        dim: channels.
        eps: added to the variance.
    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map."""
        tokens = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
        return tokens.permute(0, 3, 1, 2)


class _OrderedGradient(torch.autograd.Function):
    """The identity; the gradient that comes back is put in order in memory."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.mark_dirty(*inputs)  # the tensor itself goes on; a view of it could not be changed in place afterwards

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.contiguous()


class _Ordered(nn.Module):
    """Puts the map and its gradient in order. Scripted programs, which do not train, take the plain layer instead."""

    def __call__(self, x: Tensor) -> Tensor:
        y = super().__call__(x.contiguous())
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or not (torch.is_grad_enabled() and y.requires_grad):
            return y
        return _OrderedGradient.apply(y)


class BatchNorm2d(_Ordered, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` with right gradients for every layout. Shape: (N, C, H, W) -> (N, C, H, W)."""


class BatchNorm3d(_Ordered, nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d` with right gradients for every layout. Shape: (N, C, D, H, W) -> (N, C, D, H, W)."""


class InstanceNorm2d(_Ordered, nn.InstanceNorm2d):
    """`torch.nn.InstanceNorm2d` with right gradients for every layout. Shape: (N, C, H, W) -> (N, C, H, W)."""


class InstanceNorm3d(_Ordered, nn.InstanceNorm3d):
    """`torch.nn.InstanceNorm3d` with right gradients for every layout. Shape: (N, C, D, H, W) -> (N, C, D, H, W)."""
