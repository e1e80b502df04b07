"""Kernels held against double precision, and against plain PyTorch of their own precision."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor

from ..backend import Backend, use_backend
from .case import Case, Form


class Precision(NamedTuple):
    """What operands are, and how exactly products of float32 are computed.

    Attributes:
        dtype: of the operands.
        products: "highest" or "high", see `torch.set_float32_matmul_precision`.
        limit: of the norm of an error over that of what is expected.
    """

    dtype: torch.dtype
    products: str
    limit: float


PRECISIONS = {
    "float32": Precision(torch.float32, "highest", 1e-5),
    "tf32": Precision(torch.float32, "high", 1e-3),
    "bfloat16": Precision(torch.bfloat16, "highest", 1e-2),
    "float16": Precision(torch.float16, "highest", 1e-2),
}


def has_kernel(case: Case) -> bool:
    """Tell whether the operation's public function knows a Triton kernel."""
    return hasattr(import_module(f"{__package__.rpartition('.')[0]}.{case.operation}"), "triton")


def check(case: Case, precision: str, device: str, seed: int, permuted: bool = False) -> str:
    """Hold a kernel's output and gradients against the equation; return what is wrong, or "".

    Two runs must agree bit by bit, and nothing that is allocated may stay as it was: it is NaN. In half precision an
    error may also not be more than twice that of plain PyTorch.
    """
    if not has_kernel(case):
        return "has no kernel"
    dtype, products, limit = PRECISIONS[precision]
    tensors = case.draw(dtype, device, seed, permuted)
    expected = _results(case, _widened(tensors), "reference")
    with _products(products), _poisoned():
        found, again = (_results(case, tensors, "triton") for _ in range(2))
    if not all(torch.equal(one, other) for one, other in zip(found, again, strict=True)):
        return "two runs differ, or something is NaN"
    errors, limits = _errors(found, expected), [limit] * len(found)
    if dtype != torch.float32:
        plain = _errors(_results(case, tensors, "reference"), expected)
        limits = [min(limit, max(2 * each, torch.finfo(dtype).eps / 2)) for each in plain]
    return complaints(errors, limits)


def complaints(errors: Sequence[float], limits: Sequence[float]) -> str:
    """Say which errors, of the output and the gradients, are over their limits; "" for none."""
    names = ["output", *(f"gradient {number}" for number in range(1, len(errors)))]
    compared = zip(names, errors, limits, strict=True)
    return "; ".join(
        f"{name} is off by {error:.1e}, over {limit:.1e}" for name, error, limit in compared if not error <= limit
    )


def check_compiled(case: Case, precision: str, device: str, compiler: str = "inductor") -> str:
    """Compile the call in one graph, hold its results against the equation, and return what is wrong, or ""."""
    dtype, _, limit = PRECISIONS[precision]
    tensors = case.draw(dtype, device)
    expected = _results(case, _widened(tensors), "reference")
    with use_backend("triton"):
        found = _gradients(torch.compile(case.call, fullgraph=True, backend=compiler), tensors)
    return complaints(_errors(found, expected), [limit] * len(found))


def _widened(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [each.detach().double().cpu().requires_grad_(each.requires_grad) for each in tensors]


def _results(case: Case, tensors: list[Tensor], backend: Backend) -> list[Tensor]:
    with use_backend(backend):
        return _gradients(case.call, tensors)


def _gradients(call: Form, tensors: list[Tensor]) -> list[Tensor]:
    """Return the output and the gradients of the operands that want one, for the same random one."""
    out = call(*tensors)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    return [out.detach(), *torch.autograd.grad(out, [each for each in tensors if each.requires_grad], grad)]


def _errors(found: list[Tensor], expected: list[Tensor]) -> list[float]:
    pairs = [(one.double().cpu(), other) for one, other in zip(found, expected, strict=True)]
    return [float((one - other).norm() / other.norm().clamp_min(1e-30)) for one, other in pairs]


@contextmanager
def _products(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _poisoned() -> Iterator[None]:
    """Fill what is allocated with NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operations that might not repeat: this is tested
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(False)
