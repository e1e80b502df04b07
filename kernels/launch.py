"""How Triton kernels are started and registered, on a GPU and in Triton's interpreter alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor

from .backend import INTERPRETING

Operator = Callable[..., Any]


def operator(name: str, fake: Operator) -> Callable[[Operator], Any]:
    """Register a function that starts kernels as the operator "foveal::<name>".

    Compilers see the kernels inside. The interpreter cannot run on tensors without values, so that there the operator
    is opaque, and `fake` says what it gives.

    Args:
        name: of the operator.
        fake: takes the same arguments, and returns empty tensors as the function returns them.
    """

    def register(function: Operator) -> Any:
        if not INTERPRETING:
            return torch.library.triton_op(f"foveal::{name}", function, mutates_args=())
        made = torch.library.custom_op(f"foveal::{name}", function, mutates_args=())
        made.register_fake(fake)
        return made

    return register


def launch(
    kernel: Any, grid: tuple[int, ...], *arguments: Any, num_warps: int, num_stages: int, **constants: Any
) -> None:
    """Start a kernel on a grid of programs; constants are its `constexpr` arguments, by name."""
    started = kernel if INTERPRETING else torch.library.wrap_triton(kernel)
    started[grid](*arguments, **constants, num_warps=num_warps, num_stages=num_stages)


def width(size: int, least: int = 16) -> int:
    """Return the side of a block that holds `size`: a power of two, and as large as matrix units need."""
    return max(least, triton.next_power_of_2(size))


def precision(x: Tensor) -> str:
    """Return how products of float32 are computed: as PyTorch's own, exactly unless it is told otherwise."""
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def needs_wide(x: Tensor) -> bool:
    """Tell whether values must be made float32 once loaded: the interpreter computes garbage in bfloat16."""
    return INTERPRETING and x.dtype == torch.bfloat16
