"""Dynamic depth-wise convolution: every position has its own kernels, predicted by the network."""

import torch
from torch import Tensor

from ..backend import HAS_TRITON, runs_on_cpu, runs_on_triton
from . import reference

if HAS_TRITON:
    from . import triton


def dynamic_conv2d(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each position with its own kernels: correlation, zero padding, no bias.

    The operator of DLGSANet's local attention (Li et al. 2023, sec. 3.2). Half precision is accumulated in float32. On
    a GPU it is a Triton kernel.

    Args:
        x: (N, C, H, W) with C = G c; the c channels that share a kernel are contiguous.
        kernels: (N, G, k*k, H, W) with odd k, rows before columns.

    Returns:
        (N, C, H, W) in the dtype of `x`.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    values, taps = x.contiguous().to(wide), kernels.contiguous().to(wide)
    if torch.jit.is_scripting():
        return reference.dynamic_conv2d(values, taps).to(x.dtype)
    if HAS_TRITON and runs_on_triton("dynamic_conv2d", x, triton.obstacle(kernels.shape[2])):
        return triton.dynamic_conv2d(x, kernels.to(x.dtype))
    if _differentiates(values, taps):
        return reference.DynamicConv2d.apply(values, taps).to(x.dtype)
    return reference.dynamic_conv2d(values, taps).to(x.dtype)


def predicted_conv2d(x: Tensor, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve each position with the kernels that a 1x1 convolution makes of its features.

    The same as `dynamic_conv2d(x, conv1x1(features, weight, bias))`, but the kernels, k*k times as large as a channel,
    do not exist for the backward pass; on a CPU they are made for one group of channels at a time, and are never whole.

    Args:
        x: (N, C, H, W) with C = G c; the c channels that share a kernel are contiguous.
        features: (N, M, H, W).
        weight: (G, k*k, M) with odd k, rows before columns.
        bias: (G, k*k).

    Returns:
        (N, C, H, W) in the dtype of `x`.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    # The bias is the weight of one more feature, which is 1 everywhere.
    ones = torch.ones_like(features[:, :1])
    values = x.contiguous().to(wide)
    extended = torch.cat([features, ones], 1).contiguous().to(wide)
    matrices = torch.cat([weight, bias.unsqueeze(2)], 2).to(wide)
    if torch.jit.is_scripting():
        return reference.predicted_conv2d(values, extended, matrices, 1).to(x.dtype)
    if HAS_TRITON and runs_on_triton("predicted_conv2d", x, triton.obstacle(weight.shape[1])):
        return triton.predicted_conv2d(x, extended.to(x.dtype), matrices.to(x.dtype))
    # Elsewhere many small steps cost more than they save: in time on a GPU, in size in an exported graph.
    at_once = 1 if runs_on_cpu(x) else weight.shape[0]
    if _differentiates(values, extended, matrices):
        return reference.PredictedConv2d.apply(values, extended, matrices, at_once).to(x.dtype)
    return reference.predicted_conv2d(values, extended, matrices, at_once).to(x.dtype)


def _differentiates(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
