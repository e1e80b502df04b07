"""Adding overlapping tiles: what later tiles still add to is carried along, what none does is finished.

Only the stretches that neighbours share are held in memory: those of the next tile along the last axis, of the next
line of tiles along the axis before it, and so on. Tiles come in the order of `itertools.product` over their axes.
"""

from __future__ import annotations

import numpy as np

from .streams import Carry, Index
from .tiles import Span


class Blender:
    """Turns tiles into finished parts of the output.

    Args:
        axes: the tiles along each spatial axis.
        carry: what the first row of tiles begins with, as `carry` gave it after the row before.
    """

    def __init__(self, axes: list[list[Span]], carry: Carry) -> None:
        self.axes = axes
        # Along each axis: what the tiles before have left for these ones, and what these leave for the next, by the
        # numbers of the tiles along the axes after it.
        self.received: list[Carry] = [dict(carry), *({} for _ in axes[1:])]
        self.left: list[Carry] = [{} for _ in axes]
        self.last: Index | None = None

    def add(self, index: Index, tile: np.ndarray | None) -> np.ndarray | None:
        """Return the finished part of the output for the windows low..final of a tile's spans.

        Args:
            index: which tile.
            tile: (C, *extent) over the windows low..high of its spans, float32, changed in place; None for zeros.

        Returns:
            (C, *extent); None where no tile that was computed contributes.
        """
        self._turn(index)
        spans = [axis[number] for axis, number in zip(self.axes, index, strict=True)]
        if tile is not None:
            _weigh(tile, spans)
        for axis in reversed(range(len(spans))):
            part = self.received[axis].pop(index[axis + 1 :], None)
            tile = tile if part is None else _received(tile, part, spans, axis)
            if tile is not None and spans[axis].final < spans[axis].high:
                before = (slice(None),) * (axis + 1)
                cut = spans[axis].final - spans[axis].low
                self.left[axis][index[axis + 1 :]] = tile[(*before, slice(cut, None))].copy()
                tile = tile[(*before, slice(cut))]
        # A part is copied, lest it keep all of its tile in memory until it is written.
        return tile.copy() if tile is not None and tile.base is not None else tile

    @property
    def carry(self) -> Carry:
        """What the row of tiles just added leaves for the next."""
        return self.left[0]

    def _turn(self, index: Index) -> None:
        """Hand on what was left along the axis that advances; along those after it, a new line begins."""
        if self.last is not None:
            advanced = next(axis for axis, (a, b) in enumerate(zip(self.last, index, strict=True)) if a != b)
            self.received[advanced] = dict(self.left[advanced])
            for axis in range(advanced, len(index)):
                self.left[axis] = {}
        self.last = index


def _received(tile: np.ndarray | None, part: np.ndarray, spans: list[Span], axis: int) -> np.ndarray:
    """Add what the tile before has left along an axis."""
    if tile is None:
        extent = [s.high - s.low if a <= axis else s.final - s.low for a, s in enumerate(spans)]
        tile = np.zeros((len(part), *extent), np.float32)
    tile[(slice(None),) * (axis + 1) + (slice(part.shape[axis + 1]),)] += part
    return tile


def _weigh(tile: np.ndarray, spans: list[Span]) -> None:
    """Multiply by the weights of each axis, where they are not one."""
    for axis, span in enumerate(spans, start=1):
        (shared,) = np.nonzero(span.weights < 1)
        for part in np.split(shared, np.flatnonzero(np.diff(shared) > 1) + 1):
            if len(part):
                window = slice(part[0], part[-1] + 1)
                weights = span.weights[window].reshape(-1, *(1,) * (len(spans) - axis))
                tile[(slice(None),) * axis + (window,)] *= weights
