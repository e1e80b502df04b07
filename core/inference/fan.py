"""Several outputs of one run: each gets its channels of what the program makes, and makes of them what it wants."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple, Protocol

import numpy as np

from ..weights.card import Activation
from .activate import activate
from .streams import Carry, Geometry, Sink, Window


class FileSink(Sink, Protocol):
    """A sink whose file can be made ready before it appears."""

    def committing(self) -> AbstractContextManager[None]:
        """Make the file ready; let it appear when the block ends without an error."""
        ...


class Part(NamedTuple):
    """One of several outputs.

    Attributes:
        sink: where it goes.
        channels: of the program's outputs.
        activation: what becomes of them.
    """

    sink: FileSink
    channels: slice
    activation: Activation


class Fan:
    """A sink that hands raw outputs on to several, which appear together or not at all.

    Args:
        parts: the outputs, of one place and size; the first is the one that the geometry is checked of.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts

    @property
    def geometry(self) -> Geometry | None:
        """Where the first output lies."""
        return self.parts[0].sink.geometry

    @property
    def rows_done(self) -> int:
        """Rows that all outputs have."""
        return self._last().rows_done

    @property
    def carry(self) -> Carry:
        """What the rows after these begin with."""
        return self._last().carry

    def aside(self, window: Window) -> list[np.ndarray | None]:
        """Return what each output takes from the source."""
        return [part.sink.aside(window) for part in self.parts]

    def write(self, window: Window, values: np.ndarray | None, aside: list[np.ndarray | None]) -> None:
        """Store a finished window of raw outputs in each output."""
        for part, own in zip(self.parts, aside, strict=True):
            made = None if values is None else activate(values[part.channels], part.activation)
            part.sink.write(window, made, own)

    def finish(self, rows: int, carry: Carry) -> None:
        """Note in each output that all before this row is written."""
        for part in self.parts:
            part.sink.finish(rows, carry)

    def commit(self) -> None:
        """Make all files ready, then let them appear."""
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part.sink.committing())

    def _last(self) -> FileSink:
        """Return the sink that a killed run left behind the others."""
        return min((part.sink for part in self.parts), key=lambda sink: sink.rows_done)
