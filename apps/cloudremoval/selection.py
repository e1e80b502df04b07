"""Which dates of a place are worth computing with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ...core.errors import UserError
from ...core.messages import counted


def check_share(most_cloud: float) -> None:
    """Refuse a `--most_cloud` that is no share.

    Raises:
        UserError: it is below 0 or above 1.
    """
    if not 0 <= most_cloud <= 1:
        raise UserError(f"--most_cloud {most_cloud:g}: give a share from 0 to 1.")


def choose_dates(cover: Sequence[float], wanted: int, most_cloud: float, dates: Sequence[datetime] = ()) -> list[int]:
    """Return the clearest dates, in order of time.

    Of dates with the same cover in whole per cent those nearest to the clearest one are taken, as the land has changed
    least between them; where it is not known when they are, those nearest in order.

    Args:
        cover: of each date, the fraction of the place that is cloud or without data, 0..1; in order of time.
        wanted: how many dates are taken.
        most_cloud: at least one date must have no more than this.
        dates: when they are; () where that is not known.

    Returns:
        Indices, ascending.

    Raises:
        UserError: there are fewer dates than wanted, or all are cloudier than `most_cloud`.
    """
    if len(cover) < wanted:
        found = counted(len(cover), "date")
        raise UserError(f"{found}, too few: {wanted} are taken at once; add files of other dates.")
    if min(cover) > most_cloud:
        names = [f"{date:%Y-%m-%d}" for date in dates] or [f"number {number}" for number in range(1, len(cover) + 1)]
        raise UserError(
            f"all dates have more cloud than {most_cloud:.0%}: {told(names, cover)}; add files of clearer dates, or "
            "give a higher --most_cloud."
        )
    best = clearest(cover)

    def rank(index: int) -> tuple[float, float]:
        distance = abs((dates[index] - dates[best]).total_seconds()) if dates else abs(index - best)
        return round(cover[index], 2), distance

    return sorted(sorted(range(len(cover)), key=rank)[:wanted])


def clearest(cover: Sequence[float]) -> int:
    """Return the index of the date with the least cloud, the first of equals."""
    return min(range(len(cover)), key=lambda index: cover[index])


def told(names: Sequence[str], cover: Sequence[float]) -> str:
    """Return the cover of each date as text, such as "2018-02-10 13%, 2018-03-07 71%"."""
    return ", ".join(f"{name} {each:.0%}" for name, each in zip(names, cover, strict=True))
