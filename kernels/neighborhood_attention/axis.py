"""Which keys a query sees along one axis of neighbourhood attention, and how queries are gathered into tiles.

Hassani et al. 2023 (arXiv 2204.07143), 2022 (2209.15001: dilation) and 2025 (2504.16922: stride).
"""

from __future__ import annotations

from typing import NamedTuple


class Axis(NamedTuple):
    """Attention along one axis.

    Attributes:
        size: tokens.
        kernel: keys of a query.
        dilation: distance between its keys, in tokens.
        stride: queries that share their keys.
        causal: a query sees no key after itself.
    """

    size: int
    kernel: int
    dilation: int
    stride: int
    causal: bool


class Tile(NamedTuple):
    """Neighbouring queries along an axis, the run of keys that they see, and which of these each sees.

    Attributes:
        queries: their places.
        keys: places of the keys.
        seen: for each query, where among `keys` those that it sees begin and end.
    """

    queries: tuple[int, ...]
    keys: tuple[int, ...]
    seen: tuple[tuple[int, int], ...]

    @property
    def offsets(self) -> tuple[int, ...]:
        """What tiles that differ by their place alone have in common, beside `seen`."""
        step = self.keys[1] - self.keys[0] if len(self.keys) > 1 else 1
        return tuple((query - self.keys[0]) // step for query in self.queries)


def visible(axis: Axis, length: int, place: int) -> tuple[int, int]:
    """Return where the keys of a query begin and end, counted, as the query's place, in its dilation group.

    A group is what the tokens of one remainder modulo the dilation are; `length` is how many. A kernel that is longer
    than the group sees all of it.
    """
    kernel = min(axis.kernel, length)
    stride = min(axis.stride, kernel)
    first = place // stride * stride
    if axis.causal:
        leader = min(first + stride - 1, length - 1)
        return max(leader - kernel + 1, 0), place + 1
    leader = min(first + stride // 2, length - 1)
    start = min(max(leader - kernel // 2, 0), length - kernel)
    return start, start + kernel


def tiles(axis: Axis, side: int) -> list[Tile]:
    """Cut an axis into tiles of at most about `side` queries, each of one dilation group."""
    found = []
    for rest in range(min(axis.dilation, axis.size)):
        group = range(rest, axis.size, axis.dilation)
        count = -(-len(group) // side)
        even = -(-len(group) // count)
        for start in range(0, len(group), even):
            found.append(_tile(axis, group, range(start, min(start + even, len(group)))))
    return found


def _tile(axis: Axis, group: range, places: range) -> Tile:
    seen = [visible(axis, len(group), place) for place in places]
    first, last = min(start for start, _ in seen), max(end for _, end in seen)
    return Tile(
        tuple(group[place] for place in places),
        tuple(group[first:last]),
        tuple((start - first, end - first) for start, end in seen),
    )
