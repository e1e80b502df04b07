"""Which form of an operation runs: plain PyTorch, or a Triton kernel.

Triton kernels run on CUDA tensors, and on CPU tensors where Triton interprets them (TRITON_INTERPRET=1), which is for
tests. Exported and scripted programs hold the plain form.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

Backend = Literal["auto", "reference", "triton"]

INTERPRETING = os.environ.get("TRITON_INTERPRET") == "1"
HAS_TRITON = find_spec("triton") is not None and (INTERPRETING or torch.cuda.is_available())
"""Whether kernels can run here at all; whether one does is decided for each call."""
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_chosen: Backend = "auto"


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Choose the form of all operations inside a `with` block.

    Args:
        backend: "reference" for plain PyTorch; "triton" for kernels, and an error where one cannot run; "auto", as
            without this, for kernels on CUDA tensors wherever they can run.

    Raises:
        ValueError: another word.
    """
    global _chosen
    if backend not in ("auto", "reference", "triton"):
        raise ValueError(f"backend must be auto, reference or triton, not {backend!r}")
    before, _chosen = _chosen, backend
    try:
        yield
    finally:
        _chosen = before


def is_reference() -> bool:
    """Tell whether plain PyTorch is asked for."""
    return _chosen == "reference"


def is_exporting() -> bool:
    """Tell whether torch.export runs; `torch.compiler.is_exporting()` of torch 2.11 is true while it compiles too."""
    return torch.compiler._is_exporting_flag


def runs_on_cpu(x: Tensor) -> bool:
    """Tell whether a program is run on a CPU, not recorded: there large steps may be cut into many small ones."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing()


def runs_on_triton(operation: str, x: Tensor, obstacle: str = "") -> bool:
    """Tell whether an operation runs as a kernel.

    Args:
        operation: its name, for the message.
        x: one of its operands.
        obstacle: why the kernel cannot take these operands; "" where it can.

    Raises:
        RuntimeError: kernels are asked for and this one cannot run; the message says why.
    """
    if is_reference():
        return False
    if not HAS_TRITON or torch.jit.is_tracing() or is_exporting():
        if _chosen == "triton":
            raise RuntimeError(f"{operation}: the kernel cannot run in an export, nor without Triton and a GPU")
        return False
    if _chosen == "auto" and not x.is_cuda:
        return False
    if not x.is_cuda and not INTERPRETING:
        raise RuntimeError(f"{operation}: the kernel needs CUDA tensors, not {x.device.type}")
    if not obstacle and x.dtype not in DTYPES and not INTERPRETING:
        obstacle = f"it computes in float32, bfloat16 or float16, not {x.dtype}"
    if obstacle and _chosen == "triton":
        raise RuntimeError(f"{operation}: {obstacle}")
    if obstacle and not torch.compiler.is_compiling():
        warnings.warn(f"{operation} runs in plain PyTorch: {obstacle}", stacklevel=3)
    return not obstacle
