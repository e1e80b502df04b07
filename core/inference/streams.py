"""What the engine reads from and writes to, whatever the format. Needs no torch."""

from __future__ import annotations

from typing import Protocol

import numpy as np

Window = tuple[slice, ...]
"""A part of the spatial axes, one slice for each."""
Index = tuple[int, ...]
"""The number of a tile along each axis."""
Carry = dict[Index, np.ndarray]
"""What a row of tiles leaves for the next: by the number of the tile along the other axes, float32 (C, *extent)."""


class Geometry(Protocol):
    """Where samples lie in the world."""

    def scaled(self, scale: int) -> Geometry:
        """Return the geometry with `scale` samples in place of one along every axis."""
        ...

    def difference(self, other: object) -> str | None:
        """Say in which way another geometry differs, or None."""
        ...


class Source(Protocol):
    """What is read; by one thread, row of tiles after row of tiles.

    Attributes:
        shape: (C, *spatial); (T, C, H, W) for the dates of one place.
        spatial: how many of the axes are spatial, the last ones; the first of these is streamed ("rows").
        geometry: where the samples lie; None where the format knows nothing of it.
    """

    shape: tuple[int, ...]
    spatial: int
    geometry: Geometry | None

    def read(self, window: Window) -> np.ndarray:
        """Return a window, float32 (C, *extent) or (T, C, h, w), in the units of the card."""
        ...

    def is_empty(self, window: Window) -> bool:
        """Tell whether nothing in a window is worth computing, such as where no data is or no tissue."""
        ...


class Sink(Protocol):
    """What is written, window by window; by one thread.

    Attributes:
        geometry: where the output's samples lie; None where the format knows nothing of it.
    """

    geometry: Geometry | None

    @property
    def rows_done(self) -> int:
        """Rows that need not be computed again."""
        ...

    @property
    def carry(self) -> Carry:
        """What `finish` was given with these rows."""
        ...

    def aside(self, window: Window) -> np.ndarray | None:
        """Return what belongs to a window of the output and comes from the source; called by the thread that reads."""
        ...

    def write(self, window: Window, values: np.ndarray | None, aside: np.ndarray | None) -> None:
        """Store a finished window, (C', *extent) float32 or integer labels; None where nothing was computed."""
        ...

    def finish(self, rows: int, carry: Carry) -> None:
        """Note that all before this row is written; `carry` is what the rows after it begin with."""
        ...

    def commit(self) -> None:
        """Let the finished output appear."""
        ...
