"""Check every kernel on this machine's GPU, then time it: `python -m foveal.kernels.bench`.

Outputs and all gradients are held against double precision at odd sizes in three precisions; then kernels, their
reference, its compiled form, fused attention and FlexAttention are timed at fixed sizes. A case that fails is told and
does not stop the rest. Writes kernels.csv and kernels.md, within about eight minutes.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch._functorch import config as functorch

from .case import Case
from .cases import TABLE
from .check import PRECISIONS, check, check_compiled
from .floors import Ceilings
from .table import markdown, write
from .timing import FORMS, SIDE, SLOW, Row, measure, measured_ceilings

FAILED = "failed: "
SIZES = 4  # of an operation that are checked in each precision


class Told:
    """What failed, printed as it comes, and what there was no time for."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.skipped: list[str] = []

    def attempt(self, what: str, function: Callable[..., Any], *arguments: object) -> Any:
        """Return what a function returns; if it fails, or returns a complaint, that is told and None returned."""
        try:
            found = function(*arguments)
        except Exception as error:  # whatever a compiler or a GPU may raise
            found = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if isinstance(found, str) and found:
            self.failures.append(f"{what}: {found}")
            print(f"{FAILED}{self.failures[-1]}", flush=True)
            return None
        return found


def check_operation(
    name: str, device: str, told: Told, sizes: int = SIZES, precisions: Sequence[str] = tuple(PRECISIONS)
) -> bool:
    """Check an operation at random sizes and layouts; tell what is wrong, and return whether nothing is."""
    before, random = len(told.failures), Random(0)
    for number in range(sizes):
        case = TABLE[name].odd(random)
        for precision in precisions:
            what = f"{name} {case.size}, {precision}"
            told.attempt(what, check, case, precision, device, number, number % 2 == 1)
    return len(told.failures) == before


def check_apart(names: Sequence[str], told: Told, seconds: float) -> list[str]:
    """Check each operation in a process of its own, as a kernel may bring it down; return those that are right.

    All start at once and have so many seconds together.
    """
    deadline = time.monotonic() + seconds
    command = [sys.executable, "-m", f"{__package__}", "--check"]
    started = {name: subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in names}
    right = []
    for name, process in started.items():
        try:
            lines, _ = process.communicate(timeout=max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            lines, _ = process.communicate()
        failures = [line.removeprefix(FAILED) for line in lines.splitlines() if line.startswith(FAILED)]
        if process.returncode == 0:
            right.append(name)
        elif not failures:
            failures = [f"{name}: the process that checked it ended with code {process.returncode}"]
        told.failures += failures
    return right


def check_here(name: str) -> int:
    """Check an operation, also compiled, and return the exit code."""
    told, case = Told(), TABLE[name].odd(Random(1))
    check_operation(name, "cuda", told)
    told.attempt(f"{name} {case.size}, compiled", check_compiled, case, "bfloat16", "cuda")
    return 1 if told.failures else 0


def time_cases(cases: Sequence[Case], ceilings: Ceilings, deadline: float, told: Told) -> list[Row]:
    """Return the rows of all forms; what is slow to compile comes last, and beyond the deadline nothing is timed."""
    quick = [(case, form) for case in cases for form in forms_of(case) if form not in SLOW]
    slow = [(case, form) for form in SLOW for case in cases if form in forms_of(case)]
    rows: list[Row] = []
    for case, form in quick + slow:
        what = f"{case.operation} {case.size}, {form}"
        if time.monotonic() > deadline:
            told.skipped.append(what)
            continue
        for direction in ("forward", "backward"):
            found = told.attempt(f"{what}, {direction}", measure, case, form, direction, ceilings)
            rows += [found] if found else []
        torch._dynamo.reset()
    return rows


def forms_of(case: Case) -> list[str]:
    """Return the forms that a case has."""
    return [form for form in FORMS if form in case.rivals or form in ("kernel", "eager", "float32", "compiled")]


def run(names: Sequence[str], minutes: float, told: Told) -> tuple[list[Row], list[str]]:
    """Check and time operations; return the rows, and what a page says of them."""
    deadline = time.monotonic() + 60 * minutes
    right = check_apart(names, told, 30 * minutes)
    ceilings = measured_ceilings()
    functorch.donated_buffer = False  # a gradient is computed again and again
    rows = time_cases([case for name in right for case in TABLE[name].timed], ceilings, deadline, told)
    notes = [f"\nFailed: {each}" for each in told.failures] + [f"\nNo time was left: {each}" for each in told.skipped]
    return rows, [*facts(ceilings), "", *markdown(rows), *notes]


def facts(ceilings: Ceilings) -> list[str]:
    """Return the device, the versions and what was measured first."""
    import triton

    return [
        f"{torch.cuda.get_device_name()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"triton {triton.__version__}. A copy moves {ceilings.bytes / 1e12:.2f} TB/s, a product of {SIDE}x{SIDE} "
        f"matrices in bfloat16 computes {ceilings.flops / 1e12:.0f} TFLOP/s; "
        f"{ceilings.exponentials / 1e12:.1f}e12 exponentials a second are computed from the clock.",
        "",
        "bfloat16; medians of single calls, the cache flushed between them. MB: what a call needs beside its operands.",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m foveal.kernels.bench", description=__doc__)
    parser.add_argument("operations", nargs="*", metavar="OPERATION", help=f"{', '.join(TABLE)}; all by default")
    parser.add_argument("--output", type=Path, default=Path("."), help="folder of kernels.csv and kernels.md")
    parser.add_argument("--minutes", type=float, default=7.0, help="after which nothing more is timed")
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.operations) - set(TABLE))
    if unknown:
        parser.error(f"no operation {unknown[0]}; there are {', '.join(TABLE)}")
    if not torch.cuda.is_available():
        print("kernels are measured on a CUDA GPU, and PyTorch finds none here", file=sys.stderr)
        return 1
    if options.check:
        return check_here(*options.operations)
    told = Told()
    rows, lines = run(options.operations or list(TABLE), options.minutes, told)
    print("\n".join(lines))
    print("written:", *write(options.output, rows, lines))
    return 1 if told.failures else 0


if __name__ == "__main__":
    sys.exit(main())
