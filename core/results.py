"""What came out of an evaluation: the mean of every metric with its interval, beside the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .cases import Case, metric_names
from .metrics.interval import Interval, bootstrap, bootstrap_mean

OURS = "ours"


@dataclass(frozen=True)
class Result:
    """One metric of one set.

    Attributes:
        set: the set of cases.
        cases: how many it has.
        metric: name of the metric.
        methods: {"ours" or name of a baseline: mean over the cases with its 95% bootstrap interval}; a baseline
            without this metric is not there.
    """

    set: str
    cases: int
    metric: str
    methods: dict[str, Interval]


def results(cases: Sequence[Case], by: str | None = None) -> list[Result]:
    """Summarise per-case results: one entry for each set and metric.

    A metric `<method>_<metric>` beside `<metric>` is a baseline of it.

    Args:
        cases: the results; text fields name the case (`set`, `name`), numbers are its metrics.
        by: text field that names what was sampled independently, such as a place, where cases were not: its cases
            are drawn together.
    """
    names = metric_names(cases)
    baselines = {name: name.removesuffix(f"_{base}") for name in names for base in names if name.endswith(f"_{base}")}
    found = []
    for group in dict.fromkeys(case.get("set", "") for case in cases):
        members = [case for case in cases if case.get("set", "") == group]
        intervals = dict(zip(names, _intervals(members, names, by), strict=True))
        for name in names:
            if name not in baselines:
                columns = {OURS: name} | {each: f"{each}_{name}" for each in dict.fromkeys(baselines.values())}
                methods = {each: intervals[column] for each, column in columns.items() if column in intervals}
                found.append(Result(group, len(members), name, methods))
    return found


def methods_of(found: Sequence[Result]) -> list[str]:
    """Return "ours" and the baselines that are anywhere in results, in their order."""
    return list(dict.fromkeys(method for each in found for method in each.methods))


def interval_text(interval: Interval) -> str:
    """Return for example `31.42 [30.1, 32.65]`; the mean alone where nothing tells how sure it is."""
    if not interval.is_known:
        return f"{interval.mean:.4g}"
    return f"{interval.mean:.4g} [{interval.low:.4g}, {interval.high:.4g}]"


def results_table(cases: Sequence[Case], by: str | None = None) -> str:
    """Return `results` as the text that validate and test print."""
    if not cases:
        return "no cases were evaluated"
    found = results(cases, by)
    methods = methods_of(found)
    lines = [["set", "cases", "metric", *methods]]
    for each in found:
        shown = [interval_text(each.methods[method]) if method in each.methods else "" for method in methods]
        lines.append([each.set, str(each.cases), each.metric, *shown])
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of words as text whose columns begin one below the other."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _intervals(cases: Sequence[Case], names: Sequence[str], by: str | None) -> list[Interval]:
    """Return the mean of each metric over the cases, with its interval."""
    if by is None:
        return [bootstrap_mean([case[name] for case in cases]) for name in names]
    values = torch.tensor([[case[name] for name in names] for case in cases], dtype=torch.float64)
    return bootstrap(lambda drawn: values[drawn].nanmean(dim=0), len(cases), [case[by] for case in cases])
