"""Dynamic depth-wise convolution: every position has its own kernels, predicted by the network."""

import torch
from torch import Tensor

from . import reference


def dynamic_conv2d(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each position with its own kernels (Li et al. 2023, DLGSANet, sec. 3.2).

    A correlation with zero padding and without bias; half-precision inputs are accumulated in float32.

    Args:
        x: (N, C, H, W) with C = G c; the c channels that share a kernel are contiguous.
        kernels: (N, G, k*k, H, W) with odd k, rows before columns.

    Returns:
        (N, C, H, W) in the dtype of `x`.
    """
    x, kernels = x.contiguous(), kernels.contiguous()
    if torch.jit.is_scripting():
        return reference.dynamic_conv2d(x, kernels)
    wide = torch.promote_types(x.dtype, torch.float32)
    if torch.is_grad_enabled() and (x.requires_grad or kernels.requires_grad):
        return reference.DynamicConv2d.apply(x.to(wide), kernels.to(wide)).to(x.dtype)
    return reference.dynamic_conv2d(x.to(wide), kernels.to(wide)).to(x.dtype)
