"""The table that validate and test print."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .cases import Case, metric_names
from .metrics.interval import bootstrap, bootstrap_mean


def results_table(cases: Sequence[Case], by: str | None = None) -> str:
    """Summarise per-case results: one line for each set and metric, the mean with its 95% bootstrap interval.

    A metric `<method>_<metric>` beside `<metric>` is a baseline and gets a column of its own.

    Args:
        cases: the results; text fields name the case (`set`, `name`), numbers are its metrics.
        by: text field that names what was sampled independently, such as a place, where cases were not: its cases
            are drawn together.
    """
    if not cases:
        return "no cases were evaluated"
    names = metric_names(cases)
    baselines = {name: name.removesuffix(f"_{base}") for name in names for base in names if name.endswith(f"_{base}")}
    methods = list(dict.fromkeys(baselines.values()))
    lines = [["set", "cases", "metric", "ours", *methods]]
    for group in dict.fromkeys(case.get("set", "") for case in cases):
        members = [case for case in cases if case.get("set", "") == group]
        intervals = dict(zip(names, _intervals(members, names, by), strict=True))
        for name in names:
            if name not in baselines:
                rivals = [f"{method}_{name}" for method in methods]
                shown = [intervals.get(each, "") for each in (name, *rivals)]
                lines.append([group, str(len(members)), name, *shown])
    return _aligned(lines)


def _intervals(cases: Sequence[Case], names: Sequence[str], by: str | None) -> list[str]:
    """Return the mean of each metric over the cases, with its interval, as text."""
    if by is None:
        found = [bootstrap_mean([case[name] for case in cases]) for name in names]
    else:
        values = torch.tensor([[case[name] for name in names] for case in cases], dtype=torch.float64)
        found = bootstrap(lambda drawn: values[drawn].nanmean(dim=0), len(cases), [case[by] for case in cases])
    return [f"{each.mean:.4g} [{each.low:.4g}, {each.high:.4g}]" for each in found]


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
