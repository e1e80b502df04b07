"""Splits that never part the images of one patient, and that follow from names and a seed alone."""

from collections.abc import Iterable
from typing import Literal, get_args

from ...core.errors import UserError
from .patient_split import place_of

Part = Literal["train", "validation", "test"]
Shares = tuple[float, float, float]


def check_part(part: str) -> None:
    """Refuse what is none of the three parts.

    Raises:
        UserError: it is something else.
    """
    if part not in get_args(Part):
        raise UserError(f"part {part!r}: give {', '.join(get_args(Part))}.")


def groups_of(
    groups: Iterable[str], part: Part, shares: Shares, seed: int, where: object, noun: str = "patients or volumes"
) -> set[str]:
    """Return the groups of one part; every part with a share gets one at least, where there are enough.

    Args:
        groups: names of patients or volumes; their order and repetitions do not matter.
        part: which part.
        shares: of training, validation and test, 0..1, one together.
        seed: another seed gives another split.
        where: the data, named in errors.
        noun: what the groups are, named in errors.

    Raises:
        UserError: the shares are impossible, or the part is empty.
    """
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise UserError(f"shares {', '.join(f'{each:g}' for each in shares)}: give three from 0 to 1, one together.")
    dealt = sorted(set(groups), key=lambda each: (place_of(f"{seed}/{each}"), each))
    counts = _counts(len(dealt), shares)
    number = get_args(Part).index(part)
    start = sum(counts[:number])
    chosen = set(dealt[start : start + counts[number]])
    if not chosen:
        raise UserError(
            f"{where}: the part {part} of {len(dealt)} {noun} is empty (shares "
            f"{', '.join(f'{each:g}' for each in shares)}); give it a larger share, or more data."
        )
    return chosen


def _counts(total: int, shares: Shares) -> list[int]:
    """Return how many groups each part gets: its share rounded down, then the parts that lack most one more."""
    counts = [int(share * total) for share in shares]
    wanted = [number for number, share in enumerate(shares) if share]
    while sum(counts) < total:
        counts[max(wanted, key=lambda number: shares[number] * total - counts[number])] += 1
    for number in wanted:
        largest = counts.index(max(counts))
        if not counts[number] and counts[largest] > 1:
            counts[largest] -= 1
            counts[number] += 1
    return counts
