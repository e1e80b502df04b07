"""Adding overlapping tiles: what later tiles still add to is carried along, what none does is finished.

Only the stretches that neighbours share are held in memory: those of the next tile along the last axis, of the next
line of tiles along the axis before it, and so on. Tiles come in the order of `itertools.product` over their axes.
"""

from __future__ import annotations

import numpy as np

from .tiles import Span

Index = tuple[int, ...]
"""The number of a tile along each axis."""


class Blender:
    """Turns tiles into finished parts of the output.

    Args:
        axes: the tiles along each spatial axis.
        carry: what the first row of tiles begins with, as `carry` gave it after the row before; None for nothing.
    """

    def __init__(self, axes: list[list[Span]], carry: np.ndarray | None = None) -> None:
        self.axes = axes
        self.extent = [axis[-1].high for axis in axes]
        # Along each axis: what the tile before has left for this one, and what this one leaves for the next.
        self.received: list[np.ndarray | None] = [carry, *(None for _ in axes[1:])]
        self.left: list[np.ndarray | None] = [None for _ in axes]
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
            tile = self._receive(tile, spans, axis)
            if spans[axis].final < spans[axis].high:
                tile = self._leave(tile, spans, axis)
        return tile

    @property
    def carry(self) -> np.ndarray | None:
        """What the row of tiles just added leaves for the next."""
        return self.left[0]

    def _turn(self, index: Index) -> None:
        """Hand on what was left along the axis that advances; along those after it, a new line begins."""
        if self.last is not None:
            advanced = next(axis for axis, (a, b) in enumerate(zip(self.last, index, strict=True)) if a != b)
            self.received[advanced] = self.left[advanced]
            self.left[advanced] = None
            for axis in range(advanced + 1, len(index)):
                self.received[axis] = self.left[axis] = None
        self.last = index

    def _receive(self, tile: np.ndarray | None, spans: list[Span], axis: int) -> np.ndarray | None:
        """Add what the tile before has left along an axis."""
        received = self.received[axis]
        if received is None:
            return tile
        part = received[_place(spans, axis)]
        if tile is None:
            extent = [s.high - s.low if a <= axis else s.final - s.low for a, s in enumerate(spans)]
            tile = np.zeros((len(part), *extent), np.float32)
        tile[(slice(None),) * (axis + 1) + (slice(part.shape[axis + 1]),)] += part
        return tile

    def _leave(self, tile: np.ndarray | None, spans: list[Span], axis: int) -> np.ndarray | None:
        """Cut off and keep what the next tile along an axis adds to."""
        if tile is None:
            return None
        before = (slice(None),) * (axis + 1)
        cut = spans[axis].final - spans[axis].low
        rest = tile[(*before, slice(cut, None))]
        if self.left[axis] is None:
            self.left[axis] = np.zeros((*rest.shape[: axis + 2], *self.extent[axis + 1 :]), np.float32)
        self.left[axis][_place(spans, axis)] = rest
        return tile[(*before, slice(cut))]


def _place(spans: list[Span], axis: int) -> tuple[slice, ...]:
    """Return where a tile stands in what is carried along an axis: that is whole along the axes after it."""
    return (slice(None),) * (axis + 2) + tuple(slice(span.low, span.final) for span in spans[axis + 1 :])


def _weigh(tile: np.ndarray, spans: list[Span]) -> None:
    """Multiply by the weights of each axis, where they are not one."""
    for axis, span in enumerate(spans, start=1):
        (shared,) = np.nonzero(span.weights < 1)
        for part in np.split(shared, np.flatnonzero(np.diff(shared) > 1) + 1):
            if len(part):
                window = slice(part[0], part[-1] + 1)
                weights = span.weights[window].reshape(-1, *(1,) * (len(spans) - axis))
                tile[(slice(None),) * axis + (window,)] *= weights
