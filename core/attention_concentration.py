"""How concentrated the attention of a run is, bag by bag: kept in a file, drawn for one run or several together.

A bag is a `Case`: "set", "name", "patches" (N), "entropy" (of the attention over log N, 0..1) and "top_<k>", the share
of the attention that the k most attended patches have together, for each k of `RANKS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, quantiles

from torch import Tensor

from .cases import Case
from .errors import UserError
from .figures import new_figure, plain_axes, save_figure
from .metrics.attention import cumulative_share, relative_entropy
from .metrics.interval import bootstrap_mean
from .metrics_table import read_rows

RANKS = tuple(step * 10**power for power in range(6) for step in (1, 2, 5))
COLOURS = ("#d9480f", "#2b6cb0", "#2f9e44", "#9c36b5", "#868e96")


def concentration_of(group: str, name: str, shares: Tensor) -> Case:
    """Return how concentrated an attention is.

    Args:
        group: the set that the bag belongs to.
        name: of the bag.
        shares: of its patches, (N,).
    """
    curve = cumulative_share(shares)
    tops = {f"top_{k}": curve[min(k, len(curve)) - 1].item() for k in RANKS}
    return {"set": group, "name": name, "patches": len(curve), "entropy": relative_entropy(shares)} | tops


def read_concentration(path: Path) -> list[Case]:
    """Read what a run wrote.

    Raises:
        UserError: the file is missing or another.
    """
    columns, rows = read_rows(path)
    if not rows:
        raise UserError(f"{path}: there is no such file; runs of a network with attention leave one.")
    numbers = ("patches", "entropy", *(f"top_{k}" for k in RANKS))
    if absent := [name for name in numbers if name not in columns]:
        raise UserError(f"{path}: is no table of attention, as it lacks {absent[0]}; evaluate the run again.")
    return [row | {name: float(row[name]) for name in numbers} for row in rows]


def summary(bags: Sequence[Case]) -> str:
    """Return entropy and share of the ten most attended patches, means over the bags with their intervals."""
    entropy, share = (bootstrap_mean([each[name] for each in bags]) for name in ("entropy", "top_10"))
    return f"entropy {entropy}; share of the 10 most attended {share}"


def draw_concentration(runs: Mapping[str, Sequence[Case]], path: Path) -> None:
    """Draw the share of the most attended patches, median and middle half of the bags, and the entropies.

    Args:
        runs: {name: bags of the run}.
        path: the PNG file to write.
    """
    figure = new_figure(8.4, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    largest = max(each["patches"] for bags in runs.values() for each in bags)
    ranks = [k for k in RANKS if k <= largest]
    for number, (name, bags) in enumerate(runs.items()):
        colour = COLOURS[number % len(COLOURS)]
        low, middle, high = zip(*(_quarters([each[f"top_{k}"] for each in bags]) for k in ranks), strict=True)
        left.plot(ranks, middle, ".-", color=colour, label=name, linewidth=1.6)
        left.fill_between(ranks, low, high, color=colour, alpha=0.15, linewidth=0)
        entropies = [each["entropy"] for each in bags if each["entropy"] == each["entropy"]]
        spots = [number + 0.4 * (i + 0.5) / len(entropies) - 0.2 for i in range(len(entropies))]
        right.plot(spots, entropies, ".", color=colour, alpha=0.4, markersize=4)
        if entropies:
            right.hlines(fmean(entropies), number - 0.3, number + 0.3, color=colour, linewidth=2)
    left.set(xscale="log", xlabel="most attended patches", ylabel="their share of the attention", ylim=(0, 1.02))
    left.set_xticks(ranks, [f"{k:,}" for k in ranks], minor=False)
    left.minorticks_off()
    left.legend(frameon=False, loc="lower right")
    right.set(ylabel="entropy of the attention / log N", ylim=(0, 1.02), xlim=(-0.6, len(runs) - 0.4))
    right.set_xticks(range(len(runs)), runs)
    plain_axes(left, right)
    save_figure(figure, path)


def _quarters(values: Sequence[float]) -> list[float]:
    """Return lower quartile, median and upper quartile."""
    return quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
