"""Figures of matplotlib: what all of this package's have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .atomic import written_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float, height: float, layout: Literal["constrained", "none"] = "constrained") -> Figure:
    """Return an empty figure of a size in inches, which needs no display."""
    from matplotlib.figure import Figure  # slow to import

    return Figure(figsize=(width, height), layout=layout, dpi=110)


def plain_axes(*axes: Axes) -> None:
    """Draw a faint grid, and no frame above and to the right."""
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(alpha=0.25)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a PNG file, which appears whole or not at all."""
    with written_beside(path) as part:
        figure.savefig(part, format="png")
