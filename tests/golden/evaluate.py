"""Compare our outputs with the golden cases.

    python tests/golden/evaluate.py tests/golden/*.npz

prints the relative error of every output of every case, and exits with 1 if one is too large or a case is not covered.

`systems/<system>.py` covers a system, whatever the case's config and sizes. It holds

    outputs(case) -> {reference's name: array}    from case.meta, case.shapes and case.inputs, in float64
    TOLERANCES = {"variant/output": 2e-6}         optional: patterns of outputs that may err by more than 1e-6
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:  # however this file was imported, its neighbours shall be found
    sys.path.insert(0, str(HERE))

from parity import Case, load, relative_error  # noqa: E402

TOLERANCE = 1e-6  # relative; the cases' own rounding is 6e-8


class Result(NamedTuple):
    """One compared output, or one problem that kept a case or an output from being compared."""

    name: str
    error: float
    tolerance: float = TOLERANCE
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether the error is a number within the tolerance."""
        return not self.problem and self.error <= self.tolerance

    def __str__(self) -> str:
        """Return one line."""
        verdict = "ok" if self.passed else "FAILED"
        return f"{self.name:60} {self.problem or f'{self.error:.2e} (limit {self.tolerance:.0e})'}  {verdict}"


def evaluate(case: Case) -> dict[str, np.ndarray]:
    """Return our outputs for a case by the reference's names, gradients too.

    They come from the case's meta, shapes and inputs alone. A case that stores outputs gets those names of them that
    we compute; a case without any gets everything.

    Raises:
        LookupError: no file in systems/ covers the system or its variant.
    """
    outputs = _system(case).outputs(replace(case, outputs={}))
    return {name: np.asarray(value) for name, value in outputs.items() if not case.outputs or name in case.outputs}


def compare(case: Case) -> Iterator[Result]:
    """Compare every stored output of a case with ours."""
    ours = evaluate(case)
    tolerances = getattr(_system(case), "TOLERANCES", {})
    variant = case.meta.get("variant", "")
    for name, reference in case.outputs.items():
        limits = [limit for pattern, limit in tolerances.items() if fnmatch(f"{variant}/{name}", pattern)]
        if name not in ours:
            yield Result(name, np.inf, problem="not computed")
        elif ours[name].shape != reference.shape:
            yield Result(name, np.inf, problem=f"shape {ours[name].shape}, not {reference.shape}")
        else:
            yield Result(name, relative_error(ours[name], reference), max(limits, default=TOLERANCE))


def compare_file(path: Path) -> list[Result]:
    """Compare a case file; whatever goes wrong with it is a result that failed."""
    try:
        results = list(compare(load(path))) or [Result("", np.inf, problem="stores no outputs")]
    except Exception as error:  # one bad case shall not hide the others
        results = [Result("", np.inf, problem=f"{type(error).__name__}: {error}")]
    return [result._replace(name=f"{path.stem} {result.name}") for result in results]


def main(arguments: list[str] | None = None) -> int:
    """Compare the case files named on the command line and return the exit code."""
    parser = argparse.ArgumentParser(description="Compare our outputs with golden cases.")
    parser.add_argument("cases", nargs="+", type=Path, metavar="CASE.npz")
    failures = 0
    for path in parser.parse_args(arguments).cases:
        for result in compare_file(path):
            print(result, flush=True)
            failures += not result.passed
    return min(failures, 1)


def _system(case: Case) -> ModuleType:
    """Load the file in systems/ that bears the system's name."""
    system = case.meta["system"]
    path = HERE / "systems" / f"{system}.py"
    if not system.isidentifier() or not path.is_file():
        raise LookupError(f"no tests/golden/systems/{system}.py computes the system {system!r}")
    spec = spec_from_file_location(f"golden_{system}", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
