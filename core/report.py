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
        for name in names:
            if name not in baselines:
                rivals = [f"{method}_{name}" for method in methods]
                shown = [_interval(members, each, by) if each in names else "" for each in (name, *rivals)]
                lines.append([group, str(len(members)), name, *shown])
    return _aligned(lines)


def _interval(cases: Sequence[Case], name: str, by: str | None) -> str:
    values = [case[name] for case in cases]
    if by is None:
        found = bootstrap_mean(values)
    else:
        tensor = torch.tensor(values, dtype=torch.float64)
        found = bootstrap(lambda drawn: tensor[drawn].nanmean()[None], len(cases), [case[by] for case in cases])[0]
    return f"{found.mean:.4g} [{found.low:.4g}, {found.high:.4g}]"


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
