"""Linear layers, on a CPU by the quicker of the two libraries that PyTorch brings.

PyTorch gives products of float32 to MKL. On an AMD processor with AVX-512, oneDNN, to which it gives convolutions,
takes half the time: `python benchmarks/kernels_cpu.py linear_layer`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .backend import is_reference, runs_on_cpu

HAS_ONEDNN = torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"
NARROW = 16
"""Fewer rows or outputs are quicker in MKL, and so are products of less than WORK multiply-adds."""
WORK = 2**21
SMALL = 2**14
"""Of fewer results, each the sum of many products, threads make better use in MKL."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W^T + b as `torch.nn.functional.linear` does, up to twice as quick on a CPU with AVX-512.

    Args:
        x: (..., K).
        weight: (N, K), any layout.
        bias: (N), or None.

    Returns:
        (..., N).

    Raises:
        RuntimeError: shapes or dtypes do not fit one another.
    """
    if torch.jit.is_scripting():
        return F.linear(x, weight, bias)
    else:  # a branch of its own: what stands here is not scripted
        if not _is_quicker_by_onednn(x, weight, bias):
            return F.linear(x, weight, bias)
        if torch.is_grad_enabled():
            return OneDNNLinear.apply(x, weight, bias)
        return _by_onednn(x, weight, bias)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return A B (M, N) for matrices (M, K) and (K, N), computed as `linear` is."""
    return linear(a, b.t())


def transposed_product(a: Tensor, b: Tensor) -> Tensor:
    """Return A^T B (N, K) for matrices (M, N) and (M, K), computed as `linear` is."""
    if a.shape[1] * b.shape[1] < SMALL:
        return a.t() @ b
    return product(a.t(), b) if a.shape[1] <= b.shape[1] else product(b.t(), a).t()  # wide rows are quicker


def _is_quicker_by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    if not HAS_ONEDNN or not runs_on_cpu(x) or x.numel() * weight.shape[0] < WORK:
        return False
    watched = torch._C._len_torch_dispatch_stack() > 0  # who counts or records operators is shown the usual one
    return (
        min(x.numel() // x.shape[-1], weight.shape[0]) >= NARROW
        and x.dtype == weight.dtype == torch.float32
        and weight.shape[1:] == x.shape[-1:]  # what does not fit, PyTorch tells better
        and (bias is None or (bias.dtype == torch.float32 and bias.shape == weight.shape[:1]))
        and not torch.is_autocast_enabled("cpu")
        and not watched
        and not is_reference()
    )


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not weight.is_contiguous() and not weight.t().is_contiguous():
        weight = weight.contiguous()  # of other layouts oneDNN has a form for checking alone, a thousand times as slow
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class OneDNNLinear(torch.autograd.Function):
    """`linear` by oneDNN, with its gradient of x too; differentiable any number of times."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return (..., N) for x (..., K), weight (N, K) and bias (N)."""
        return _by_onednn(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        """Keep what the gradients need."""
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of x, weight and bias for the output's gradient (..., N)."""
        x, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            linear(grad, weight.t()) if needs_x else None,
            transposed_product(rows, x.flatten(0, -2)) if needs_weight else None,
            rows.sum(0) if needs_bias else None,
        )
