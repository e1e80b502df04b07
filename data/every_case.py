"""Doing something with every case of a dataset before training, many at once, with all that is wrong told together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..core.errors import UserError
from ..core.inference.progress import Reporter

Case = TypeVar("Case", bound=Hashable)
T = TypeVar("T")


def every_case(
    cases: Sequence[Case],
    function: Callable[[Case], T],
    workers: int,
    noun: str = "cases",
    first: int = 0,
    told: str = "",
) -> list[T]:
    """Return what a function makes of each case.

    Args:
        cases: of which the same may come several times.
        function: called once for each.
        workers: threads.
        noun: what the cases are.
        first: number of the case to begin with, so that processes that share a cache do not do the same at once.
        told: what is done, reported where it takes long; "" reports nothing.

    Raises:
        UserError: the function raised it; says for how many cases and for which first.
    """
    results: dict[Case, T] = {}
    problems: dict[Case, str] = {}

    def call(case: Case) -> None:
        try:
            results[case] = function(case)
        except UserError as error:
            problems[case] = str(error)

    works = dict.fromkeys([*cases[first:], *cases[:first]])
    with Reporter(1, quiet=not told, unit=noun) as reporter, ThreadPoolExecutor(max(workers, 1)) as pool:
        reporter.start(told)
        for done, _ in enumerate(pool.map(call, works), 1):
            reporter.progress(done, len(works))
    lines = [problems[case] for case in dict.fromkeys(cases) if case in problems]
    if len(lines) == 1:
        raise UserError(lines[0])
    if lines:
        raise UserError(f"{len(lines)} of {len(works)} {noun} cannot be used; the first: {lines[0]}")
    return [results[case] for case in cases]
