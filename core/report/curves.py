"""The metrics of a training as panels of lines, in the coordinates of an SVG drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..plots import panels_of

WIDTH, HEIGHT = 360, 200  # of a panel, in units of the drawing
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 24  # around the axes
MOST_POINTS = 300  # of one line; of more, every so many are left out

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        label: what it shows.
        style: "train", "val", "test", "baseline" or "part" (of one class).
        points: (step, value) of each.
        path: the same as an SVG path.
    """

    label: str
    style: str
    points: list[Point]
    path: str


@dataclass(frozen=True)
class Panel:
    """One metric over the optimiser's steps.

    Attributes:
        title: the metric.
        lines: of its stages, baselines and classes.
        steps: (place, text) of the marks along the horizontal axis.
        values: (place, text) of those along the vertical one.
        range: the first and the last step.
    """

    title: str
    lines: list[Line]
    steps: list[tuple[float, str]]
    values: list[tuple[float, str]]
    range: tuple[float, float]


def panels(rows: Sequence[dict[str, Any]], first: str | None = None) -> list[Panel]:
    """Return a panel for each metric of a metrics table: `first`, the loss, then the others.

    Args:
        rows: of the table, as `read_rows` gives them.
        first: name of the metric that comes first.
    """
    found = panels_of(list(rows[0]) if rows else [])
    order = sorted(found, key=lambda name: (name != first, name != "loss"))
    drawn = [(name, {column: _points(rows, column) for column in found[name]}) for name in order]
    return [_panel(name, lines) for name, lines in drawn if any(lines.values())]


def _points(rows: Sequence[dict[str, Any]], column: str) -> list[Point]:
    pairs = [(float(row["step"]), float(row[column])) for row in rows if row.get(column)]
    finite = [pair for pair in pairs if math.isfinite(pair[1])]
    stride = -(-len(finite) // MOST_POINTS) or 1
    return finite[::-1][::stride][::-1]  # the last is always there


def _panel(name: str, columns: dict[str, list[Point]]) -> Panel:
    columns = {column: points for column, points in columns.items() if points}
    steps, values = zip(*(point for points in columns.values() for point in points), strict=True)
    across, up = _span(steps), _span(values)
    lines = []
    for column, points in columns.items():
        placed = [(_across(step, across), _up(value, up)) for step, value in points]
        path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in placed) + "h0" * (len(placed) == 1)  # a dot
        lines.append(Line(*_label(name, column), points, path))
    return Panel(
        name,
        lines,
        [(_across(each, across), f"{each:,.0f}") for each in marks(*across) if each.is_integer()],
        [(_up(each, up), f"{each:.6g}") for each in marks(*up)],
        (min(steps), max(steps)),
    )


def _label(name: str, column: str) -> tuple[str, str]:
    """Return what a column is called in the panel of a metric, and the style of its line."""
    stage, _, metric = column.rpartition("/")
    if metric.startswith(f"{name}_"):
        return metric.removeprefix(f"{name}_"), "part"
    if metric != name:
        return metric.removesuffix(f"_{name}"), "baseline"
    return (stage or name), (stage if stage in ("train", "val", "test") else "train")


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (abs(low) or 1) / 10 if low == high else 0  # so that a single value stands in the middle
    return low - room, high + room


def _across(step: float, span: tuple[float, float]) -> float:
    return LEFT + (step - span[0]) / (span[1] - span[0]) * (WIDTH - LEFT - RIGHT)


def _up(value: float, span: tuple[float, float]) -> float:
    return HEIGHT - BOTTOM - (value - span[0]) / (span[1] - span[0]) * (HEIGHT - TOP - BOTTOM)


def marks(low: float, high: float, most: int = 4) -> list[float]:
    """Return at most `most` + 1 round numbers between two, at equal distances of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
