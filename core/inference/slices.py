"""Taking the slices of a volume along another axis than the one in which they are stored. Needs no torch.

Arrays are (C, *spatial). Only the order of the axes changes on the way to a program and back; nothing is resampled.
"""

from __future__ import annotations

import numpy as np

from .streams import Carry, Sink, Source, Window

SLAB = 16 << 20  # samples of neighbouring slices that are read at once
STORED = 2


def along(source: Source, sink: Sink, axis: int) -> tuple[Source, Sink]:
    """Return a source and a sink whose slices lie along an axis of a volume; themselves where they do already.

    Args:
        source: of a volume.
        sink: for what is made of it, on the same grid.
        axis: 0, 1 or 2 of the axes (i, j, k) of a file, which are those of arrays from the last to the first. The
            other two keep their order.
    """
    if axis == STORED or source.spatial != 3:
        return source, sink
    place = STORED - axis
    return _TurnedSource(source, place), _TurnedSink(sink, place, source.shape)


def _to_file(window: Window, place: int) -> Window:
    """Return a window of slices as one of the volume."""
    first, *others = window
    return *others[:place], first, *others[place:]


class _TurnedSource:
    """A volume whose axis `place` comes first; some neighbouring slices are read at once and kept."""

    def __init__(self, source: Source, place: int) -> None:
        self.source = source
        self.place = place
        *before, depth, height, width = source.shape
        spatial = [depth, height, width]
        self.shape = (*before, spatial.pop(place), *spatial)
        self.spatial, self.geometry = source.spatial, source.geometry
        self.step = max(1, SLAB // int(np.prod([*before, *spatial])))
        self.start = 0
        self.slab: np.ndarray | None = None

    def read(self, window: Window) -> np.ndarray:
        rows, *others = window
        if self.slab is None or rows.start < self.start or rows.stop > self.start + self.slab.shape[-3]:
            stop = max(rows.stop, min(rows.start + self.step, self.shape[-3]))
            whole = (slice(rows.start, stop), *(slice(0, size) for size in self.shape[-2:]))
            values = self.source.read(_to_file(whole, self.place))
            self.slab, self.start = np.moveaxis(values, self.place - 3, -3), rows.start
        part = slice(rows.start - self.start, rows.stop - self.start)
        return np.ascontiguousarray(self.slab[..., part, *others])

    def is_empty(self, window: Window) -> bool:
        return self.source.is_empty(_to_file(window, self.place))


class _TurnedSink:
    """Puts slices where they lie in the volume; as they cross all of its rows, these are finished together."""

    carry: Carry = {}  # noqa: RUF012 (never changed)

    def __init__(self, sink: Sink, place: int, shape: tuple[int, ...]) -> None:
        self.sink = sink
        self.place = place
        self.geometry = sink.geometry
        self.rows, self.slices = shape[-3], shape[place - 3]

    @property
    def rows_done(self) -> int:
        return self.slices if self.sink.rows_done == self.rows else 0

    def aside(self, window: Window) -> object:
        return self.sink.aside(_to_file(window, self.place))

    def write(self, window: Window, values: np.ndarray | None, aside: object) -> None:
        turned = None if values is None else np.moveaxis(values, -3, self.place - 3)
        self.sink.write(_to_file(window, self.place), turned, aside)

    def finish(self, rows: int, carry: Carry) -> None:
        if rows == self.slices:
            self.sink.finish(self.rows, {})

    def commit(self) -> None:
        self.sink.commit()
