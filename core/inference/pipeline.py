"""Reading ahead and writing behind, so that neither waits for the program: one thread for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..weights.card import Activation
from .activate import activate
from .streams import Carry, Index, Sink, Source, Window
from .tiles import Span

AHEAD = 2  # batches of tiles read before they are needed
BEHIND = 8  # finished windows that wait to be written


class Batch(NamedTuple):
    """Tiles to be computed at once.

    Attributes:
        indices: which tiles, in order.
        empty: which of them are not worth computing.
        tiles: the others, float32 (C, *extent), padded to their full size.
    """

    indices: list[Index]
    empty: list[bool]
    tiles: list[np.ndarray]


class Pipeline:
    """Reads tiles from a source and writes finished windows to a sink, each in a thread of its own.

    As a context manager it waits at its end until all is written. What a thread raises is raised by the next call.

    Args:
        source: touched by the reading thread alone.
        sink: written to by the writing thread alone; `aside` is called by the reading one.
        axes: the tiles along each spatial axis.
        activation: what becomes of blended outputs.
    """

    def __init__(self, source: Source, sink: Sink, axes: list[list[Span]], activation: Activation) -> None:
        self.source = source
        self.sink = sink
        self.axes = axes
        self.activation = activation
        self.reader = ThreadPoolExecutor(1, "reader")
        self.writer = ThreadPoolExecutor(1, "writer")
        self.asides: dict[Index, np.ndarray | None] = {}
        self.written: deque[Future[None]] = deque()
        self.is_broken = False

    def read(self, batches: Iterable[list[Index]]) -> Iterator[Batch]:
        """Yield the batches of these tiles, reading the next ones meanwhile."""
        futures: deque[Future[Batch]] = deque()
        for indices in batches:
            futures.append(self.reader.submit(self._read, indices))
            if len(futures) > AHEAD:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()

    def write(self, index: Index, values: np.ndarray | None) -> None:
        """Let the finished windows of a tile be written; wait only where too many are waiting."""
        self._submit(self._write, self._finished(index), values, self.asides.pop(index))

    def finish(self, rows: int, carry: Carry) -> None:
        """Let the sink note that all windows before this row are written."""
        self._submit(self.sink.finish, rows, carry)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.reader.shutdown(cancel_futures=True)
        self.writer.shutdown(cancel_futures=kind is not None)
        if kind is None:
            while self.written:
                self.written.popleft().result()

    def _submit(self, function: Callable[..., None], *arguments: object) -> None:
        self.written.append(self.writer.submit(self._unless_broken, function, *arguments))
        if len(self.written) > BEHIND:
            self.written.popleft().result()

    def _unless_broken(self, function: Callable[..., None], *arguments: object) -> None:
        """Do nothing after a failure, lest rows count as finished of which a window could not be written."""
        if not self.is_broken:
            self.is_broken = True
            function(*arguments)
            self.is_broken = False

    def _read(self, indices: list[Index]) -> Batch:
        empty, tiles = [], []
        for index in indices:
            spans = [axis[number] for axis, number in zip(self.axes, index, strict=True)]
            window = tuple(
                slice(span.start, min(span.stop, length))
                for span, length in zip(spans, self.source.shape[-len(spans) :], strict=True)
            )
            empty.append(self.source.is_empty(window))
            if not empty[-1]:
                tiles.append(padded(self.source.read(window), spans))
            self.asides[index] = self.sink.aside(self._finished(index))
        return Batch(indices, empty, tiles)

    def _write(self, window: Window, values: np.ndarray | None, aside: np.ndarray | None) -> None:
        self.sink.write(window, None if values is None else activate(values, self.activation), aside)

    def _finished(self, index: Index) -> Window:
        spans = (axis[number] for axis, number in zip(self.axes, index, strict=True))
        return tuple(slice(span.low, span.final) for span in spans)


def padded(tile: np.ndarray, spans: Sequence[Span]) -> np.ndarray:
    """Mirror a tile into what lies beyond the end, or repeat its edge where the mirror is too short."""
    for axis, span in enumerate(spans, start=tile.ndim - len(spans)):
        missing = span.stop - span.start - tile.shape[axis]
        if missing:
            pads = [(0, missing if each == axis else 0) for each in range(tile.ndim)]
            tile = np.pad(tile, pads, mode="reflect" if missing < tile.shape[axis] else "edge")
    return np.asarray(tile, dtype=np.float32)
