"""Per-case results: gathered over processes, summarised with intervals, written as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .atomic import written_beside

Case = dict[str, Any]  # text fields name the case ("set", "name"), numbers are its metrics


def gathered(cases: list[Case]) -> list[Case]:
    """Return the cases of all processes, in an order that does not depend on how many there are."""
    return sorted(everywhere(cases), key=lambda case: tuple(value for value in case.values() if isinstance(value, str)))


def everywhere(values: list[Any]) -> list[Any]:
    """Return the values of all processes, in the order of the processes; every process asks at the same time."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    shares: list[list[Any]] = [[] for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(shares, values)
    return [value for share in shares for value in share]


def means(cases: Sequence[Case]) -> dict[str, float]:
    """Return {metric: mean over the cases that have a value}; not-a-number where none has."""
    return {name: _mean([case[name] for case in cases if not math.isnan(case[name])]) for name in metric_names(cases)}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def metric_names(cases: Sequence[Case]) -> list[str]:
    """Return the names of the numeric fields of the cases."""
    return [key for key, value in cases[0].items() if not isinstance(value, str)] if cases else []


def write_cases(path: Path, cases: Sequence[Case]) -> None:
    """Write one line per case; the file appears whole or not at all."""
    with written_beside(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(cases[0]))
        writer.writeheader()
        writer.writerows(cases)
