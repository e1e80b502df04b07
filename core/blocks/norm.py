"""Normalisation layers.

PyTorch's batch and instance norm on a CPU give wrong gradients, without a word, for a batch of one whose map comes
from tokens or goes to tokens: the backward pass reads one of its two operands in the wrong order in memory. The layers
here have the same parameters and values, and are immune, as both operands are put in order first.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.backend import is_exporting


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


class _Ordered(nn.Module):
    """Puts the map and its gradient in the same order: channels last where the map is so throughout, else first.

    Values are right for every order, so that without gradients nothing is copied. Scripted, traced and exported
    programs, which do not train, take the plain layer.
    """

    def __call__(self, x: Tensor) -> Tensor:
        if is_exporting() or torch.jit.is_tracing() or not torch.is_grad_enabled():
            return super().__call__(x)
        if torch.compiler.is_compiling():
            return super().__call__(x.contiguous())
        y = super().__call__(x if has_channels_last(x) else x.contiguous())
        if y.requires_grad:
            y.register_hook(_with_channels_last if has_channels_last(y) else _with_channels_first)
        return y


def has_channels_last(x: Tensor) -> bool:
    """Tell whether (N, C, *spatial) lies in memory as (N, *spatial, C), with the strides that PyTorch gives that.

    A batch of one may have any stride between images and still count as such for PyTorch; here it may not.
    """
    if x.is_contiguous():
        return False
    moved = x.movedim(1, -1)
    return moved.stride() == torch.empty(moved.shape, device="meta").stride()


def _with_channels_first(grad: Tensor | None) -> Tensor | None:
    return None if grad is None else grad.contiguous()


def _with_channels_last(grad: Tensor | None) -> Tensor | None:
    if grad is None or has_channels_last(grad):
        return grad
    return grad.clone(memory_format=torch.channels_last if grad.ndim == 4 else torch.channels_last_3d)


class BatchNorm2d(_Ordered, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` with right gradients for every layout. Shape: (N, C, H, W) -> (N, C, H, W)."""


class BatchNorm3d(_Ordered, nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d` with right gradients for every layout. Shape: (N, C, D, H, W) -> (N, C, D, H, W)."""


class InstanceNorm2d(_Ordered, nn.InstanceNorm2d):
    """`torch.nn.InstanceNorm2d` with right gradients for every layout. Shape: (N, C, H, W) -> (N, C, H, W)."""


class InstanceNorm3d(_Ordered, nn.InstanceNorm3d):
    """`torch.nn.InstanceNorm3d` with right gradients for every layout. Shape: (N, C, D, H, W) -> (N, C, D, H, W)."""


def use_own_norms(network: nn.Module) -> None:
    """Let the batch norms of a network that another library made for maps be those of this file, parameters as is."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = BatchNorm2d
