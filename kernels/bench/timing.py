"""Time and memory of the forms of a case on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..backend import use_backend
from .case import Case, Form
from .floors import Ceilings, Work, exponentials, floor

FORMS = ("kernel", "eager", "usual", "sdpa", "float32", "compiled", "flex")
"""The kernel; its reference, which is fused attention where there is any; what papers write, with all scores; fused
attention with a mask of all pairs; the kernel in single precision; the reference, compiled; FlexAttention."""
SLOW = ("compiled", "flex")
"""To compile."""
SIDE = 8192


class Row(NamedTuple):
    """What one form of a case takes. Microseconds, of which the median and the 20% and 80% quantiles.

    Attributes:
        operation: folder of foveal.kernels.
        size: in words.
        direction: forward or backward.
        form: see `FORMS`.
        median: of the time.
        low: of the time.
        high: of the time.
        floor: of the time.
        gigabytes: a second, of what must be moved.
        teraflops: a second, of what must be computed.
        megabytes: at the peak, beside the operands; of both directions where it is backward.
    """

    operation: str
    size: str
    direction: str
    form: str
    median: float
    low: float
    high: float
    floor: float
    gigabytes: float
    teraflops: float
    megabytes: float


def measured_ceilings() -> Ceilings:
    """Measure a copy of a gibibyte and one large product of matrices."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copying = timed(lambda: target.copy_(source))[0]
    one, other = (torch.randn(SIDE, SIDE, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    product = timed(lambda: one @ other)[0]
    return Ceilings(2 * 2**30 / copying, 2 * SIDE**3 / product, exponentials(torch.cuda.get_device_properties(0)))


def timed(call: Callable[[], object]) -> tuple[float, float, float]:
    """Return the median and the 20% and 80% quantiles in seconds; the cache is flushed between runs."""
    from triton.testing import do_bench

    median, low, high = do_bench(call, warmup=50, rep=200, quantiles=[0.5, 0.2, 0.8])
    return median / 1e3, low / 1e3, high / 1e3


def measure(case: Case, form: str, direction: str, ceilings: Ceilings) -> Row:
    """Return the row of a form, forward or backward."""
    tensors = case.draw(torch.float32 if form == "float32" else torch.bfloat16, "cuda")
    call = form_of(case, form, "cuda")
    with use_backend("triton" if form in ("kernel", "float32") else "reference"):
        seconds, megabytes = (_forward if direction == "forward" else _backward)(call, tensors)
    return row(case, direction, form, ceilings, seconds, megabytes)


@torch.no_grad()
def _forward(call: Form, tensors: list[Tensor]) -> tuple[tuple[float, float, float], float]:
    """Return the time without gradients, and the megabytes that it needs."""
    return timed(lambda: call(*tensors)), peak(lambda: call(*tensors))


def _backward(call: Form, tensors: list[Tensor]) -> tuple[tuple[float, float, float], float]:
    """Return the time of the gradients alone, and the megabytes that output and gradients need."""
    trained = [each for each in tensors if each.requires_grad]
    out = call(*tensors)
    grad = torch.randn_like(out)
    seconds = timed(partial(torch.autograd.grad, out, trained, grad, retain_graph=True))
    del out
    return seconds, peak(lambda: torch.autograd.grad(call(*tensors), trained, grad))


def form_of(case: Case, form: str, device: str) -> Form:
    """Return what computes the case."""
    if form in case.rivals:
        return case.rivals[form](device)
    return torch.compile(case.call, dynamic=False) if form == "compiled" else case.call


def row(
    case: Case,
    direction: str,
    form: str,
    ceilings: Ceilings,
    seconds: tuple[float, float, float],
    megabytes: float,
) -> Row:
    """Return the row; single precision moves twice the bytes."""
    work: Work = getattr(case, direction)
    if form == "float32":
        work = work._replace(bytes=2 * work.bytes)
    times = [1e6 * each for each in (*seconds, floor(work, ceilings))]
    rates = work.bytes / seconds[0] / 1e9, work.flops / seconds[0] / 1e12
    return Row(case.operation, case.size, direction, form, *times, *rates, megabytes)


def peak(call: Callable[[], object]) -> float:
    """Return by how many megabytes a call raises what is allocated."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6
