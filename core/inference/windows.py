"""Windows that cover what is read. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

SLAB = 16 << 20  # samples


def whole(extent: Sequence[int]) -> tuple[slice, ...]:
    """Return the window of all samples of an extent."""
    return tuple(slice(0, size) for size in extent)


def slabs(box: Sequence[slice], shared: int = 0, most: int | None = None) -> Iterator[tuple[slice, ...]]:
    """Yield windows that cover a box along its first axis, each small enough for memory.

    Args:
        box: a window, such as (D, H, W).
        shared: slices that each window has in common with the one before.
        most: samples of a window, of more than one slice; None for as many as are usual.
    """
    rows, *others = box
    samples = max(1, prod(each.stop - each.start for each in others))
    step = max(1 + shared, (SLAB if most is None else most) // samples)
    start = rows.start
    while True:
        stop = min(start + step, rows.stop)
        yield slice(start, stop), *others
        if stop == rows.stop:
            return
        start = stop - shared
