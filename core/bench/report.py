"""The table and the plot of what token mixers cost."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import written_beside
from ..cases import write_cases
from ..figures import new_figure, plain_axes, save_figure
from .cost import WANTED, Cost

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL_HEIGHT = 0.044  # of the plot
STYLES = ("-", "--", ":")


def show(costs: Sequence[Cost], title: str) -> None:
    """Print the table: drawn on a terminal, in Markdown elsewhere."""
    if not sys.stdout.isatty():
        print(markdown(costs, title), end="")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in _heading(costs):
        text = name == "mixer"
        table.add_column(name, justify="left" if text else "right", no_wrap=text, overflow="fold")
    for row in _rows(costs):
        table.add_row(*row)
    console = Console()
    console.print(table)
    for note in _notes(costs):
        console.print(note, markup=False, highlight=False)


def write_report(folder: Path, costs: Sequence[Cost], title: str) -> None:
    """Write table.csv (in seconds), table.md and time.png into a folder; each appears whole or not at all."""
    write_cases(folder / "table.csv", [_plain(cost) for cost in costs])
    with written_beside(folder / "table.md") as part:
        part.write_text(markdown(costs, title), encoding="utf-8")
    draw(costs, title, folder / "time.png")


def markdown(costs: Sequence[Cost], title: str) -> str:
    """Return the table in Markdown, the quickest mixer first, with the title above and the notes below it."""
    head = _heading(costs)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *_rows(costs)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    below = "".join(f"- {note}\n" for note in _notes(costs))
    return f"{title}\n\n{table}\n" + (f"\n{below}" if below else "")


def draw(costs: Sequence[Cost], title: str, path: Path) -> None:
    """Draw the forward time over the number of tokens, a line for each mixer, named where it ends.

    Args:
        costs: of the mixers; those that could not run at any size are left out.
        title: above the plot.
        path: the PNG file to write; none is written where nothing could run.
    """
    found = [cost for cost in costs if any(cost.forward)]
    if not found:
        return
    figure = new_figure(9, 6.5)
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="milliseconds of a forward pass")
    ends = []
    for number, cost in enumerate(found):
        points = [(n, 1e3 * t) for n, t in zip(cost.tokens, cost.forward, strict=True) if t]
        colour, style = f"C{number % 10}", STYLES[number // 10 % len(STYLES)]
        axes.plot(*zip(*points, strict=True), style, marker=".", color=colour, linewidth=1.3)
        ends.append((points[-1], cost.name, colour))
    axes.set_xticks(found[0].tokens, [f"{count:,}" for count in found[0].tokens])
    axes.xaxis.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    plain_axes(axes)
    axes.set_title(title, fontsize="small", loc="left", wrap=True)
    _name(axes, ends)
    save_figure(figure, path)


def _name(axes: Axes, ends: list[tuple[tuple[float, float], str, str]]) -> None:
    """Write each name beside the plot, as near to the end of its line as the other names leave room."""
    low, high = map(math.log, axes.get_ylim())
    ends = sorted(ends, key=lambda end: end[0][1])
    heights = [(math.log(point[1]) - low) / (high - low) for point, _, _ in ends]
    for place in range(1, len(heights)):
        heights[place] = max(heights[place], heights[place - 1] + LABEL_HEIGHT)
    top = 0.97
    for place in reversed(range(len(heights))):
        heights[place] = top = min(heights[place], top)
        top -= LABEL_HEIGHT
    for (point, name, colour), height in zip(ends, heights, strict=True):
        axes.annotate(
            name,
            point,
            (1.05, height),
            textcoords="axes fraction",
            color=colour,
            fontsize="small",
            verticalalignment="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "relpos": (0, 0.5)},
        )


def _heading(costs: Sequence[Cost]) -> list[str]:
    sizes = [f"ms at {count:,}" for count in costs[0].tokens]
    return ["mixer", "k weights", "M mult adds", *sizes, "ms with grads", "peak MB", "growth"]


def _rows(costs: Sequence[Cost]) -> list[list[str]]:
    quickest = sorted(costs, key=lambda cost: cost.forward[WANTED] or math.inf)
    return [
        [
            cost.name,
            _shown("{:,.1f}", cost.parameters, 1e-3),
            _shown("{:,.1f}", cost.multiply_adds, 1e-6),
            *(_shown("{:.3g}", each, 1e3) for each in (*cost.forward, cost.step)),
            _shown("{:.0f}", cost.megabytes),
            _shown("{:.2f}", cost.growth),
        ]
        for cost in quickest
    ]


def _notes(costs: Sequence[Cost]) -> list[str]:
    return [f"{cost.name}: {note}" for cost in costs for note in cost.notes]


def _plain(cost: Cost) -> dict[str, Any]:
    """Return a line of the CSV file."""
    forward = {f"forward_{n}_tokens": seconds for n, seconds in zip(cost.tokens, cost.forward, strict=True)}
    facts = {"weights": cost.parameters, "multiply_adds": cost.multiply_adds, **forward}
    measured = {"forward_and_backward": cost.step, "peak_megabytes": cost.megabytes, "growth": cost.growth}
    return {"mixer": cost.name, **facts, **measured, "notes": "; ".join(cost.notes)}


def _shown(form: str, value: float | None, factor: float = 1) -> str:
    return "-" if value is None else form.format(value if factor == 1 else value * factor)
