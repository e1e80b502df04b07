"""The engine: reads tiles from a source, runs a program on them, blends, and hands finished rows to a sink.

Memory holds the rows of one row of tiles, never the whole. Arrays are (C, *spatial), with two or three spatial axes
of which the first is streamed ("rows").
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..weights.card import Card
from .device import Precision, autocast, find_device
from .tiles import Span, plan_axis
from .tta import mean_over_views

Program = Callable[[Tensor], Tensor]
Tile = int | Literal["auto", "whole"]
Progress = Callable[[int, int], None]
"""Called with (finished output rows, all output rows)."""


class Geometry(Protocol):
    """Where samples lie in the world."""

    def scaled(self, scale: int) -> Geometry:
        """Return the geometry with `scale` samples in place of one along every axis."""
        ...

    def difference(self, other: object) -> str | None:
        """Say in which way another geometry differs, or None."""
        ...


class Source(Protocol):
    """What is read: `shape` is (C, *spatial)."""

    shape: tuple[int, ...]

    def read(self, slices: tuple[slice, ...]) -> np.ndarray:
        """Return a window of the spatial axes, float32 (C, *extent), in the card's value range."""
        ...


class Sink(Protocol):
    """What is written, row after row."""

    @property
    def rows_done(self) -> int:
        """Rows that need not be computed again."""
        ...

    def write(self, rows: np.ndarray) -> None:
        """Append the next rows, float32 (C', r, *rest)."""
        ...

    def commit(self) -> None:
        """Let the finished output appear."""
        ...


class Engine:
    """Runs a program over data of any size.

    Args:
        program: (1, C, *extent) float tensor in the card's value range -> (1, C', *scale * extent).
        card: says the scale, the size multiple, the number of channels, and the default tile and overlap.
        device: "auto", "cpu", "cuda" or "cuda:1"; where the program already is.
        precision: what a network computes in; exported programs keep their own.
        tile: side of a tile in input samples; "auto" for the card's; "whole" for all in one pass. What fits into one
            tile is always computed in one pass.
        overlap: input samples that neighbouring tiles share; None for the card's, or less where the tile is small.
        tta: average over flips and transposes, at eight times the cost.

    Raises:
        UserError: an option is out of its range, or there is no such device.
    """

    def __init__(
        self,
        program: Program,
        card: Card,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
        tile: Tile | None = "auto",
        overlap: int | None = None,
        tta: bool = False,
    ) -> None:
        self.program = program
        self.card = card
        self.device = find_device(str(device))
        self.autocast = autocast(self.device, precision)
        self.tile = {"auto": card.tile, "whole": None}.get(tile, tile)
        self.overlap = overlap if overlap is not None else min(card.overlap, (self.tile or card.tile) // 2)
        self.tta = tta
        self.plan((1, 1))  # so that impossible options are told before any work

    def plan(self, extent: tuple[int, ...]) -> list[list[Span]]:
        """Return the tiles along each spatial axis for an input of this extent."""
        card = self.card
        return [plan_axis(length, self.tile, self.overlap, card.scale, card.size_multiple) for length in extent]

    def run(self, source: Source, sink: Sink, progress: Progress | None = None) -> None:
        """Compute all rows that the sink does not have yet, write them, and commit.

        Raises:
            UserError: the channels are not those of the card; the program's output is not finite or not as large as
                the card says; a tile does not fit into the GPU's memory.
        """
        if source.shape[0] != len(self.card.channels):
            raise UserError(f"the input has {source.shape[0]} channels, the network takes {self.card.channels}.")
        rows, *columns = self.plan(source.shape[1:])
        first = sink.rows_done
        strip = _Strip(rows, columns)
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            if row.high <= first:
                continue  # a resumed run starts with the first tiles that reach the missing rows
            for spans in product([row], *columns):
                strip.add(spans, self._compute(source, spans))
            final = following.low if following else row.high
            if final > first:
                sink.write(strip.rows(max(row.low, first), final))
            strip.advance(final)
            if progress:
                progress(final, rows[-1].high)
        sink.commit()

    def array(self, x: np.ndarray) -> np.ndarray:
        """Return the program's output for a whole float32 array, (C, *spatial) -> (C', *scale * spatial)."""
        sink = _ArraySink()
        self.run(_ArraySource(x), sink)
        return np.concatenate(sink.parts, axis=1)

    def _compute(self, source: Source, spans: tuple[Span, ...]) -> np.ndarray:
        """Return the program's output for one tile, restricted to where the tile contributes."""
        tile = _read_padded(source, spans)
        x = torch.from_numpy(tile)[None].to(self.device)
        try:
            with torch.inference_mode(), self.autocast:
                y = mean_over_views(self.program, x) if self.tta else self.program(x)
                y = y[0].float().cpu().numpy()
        except torch.OutOfMemoryError:
            extent = " x ".join(map(str, tile.shape[1:]))
            raise UserError(f"a tile of {extent} does not fit into the GPU's memory; give a smaller --tile.") from None
        scale = self.card.scale
        expected = tuple(scale * size for size in tile.shape[1:])
        if y.shape[1:] != expected:
            raise UserError(f"the network made {y.shape[1:]} of {tile.shape[1:]}; its card promises {expected}.")
        y = y[:, *(slice(span.low - scale * span.start, span.high - scale * span.start) for span in spans)]
        if not np.isfinite(y).all():
            raise UserError("the network's output is not finite; use --precision float32, or check the weights.")
        return y


class _Strip:
    """The output rows to which the current row of tiles contributes, (C', rows, *rest)."""

    def __init__(self, rows: list[Span], columns: list[list[Span]]) -> None:
        self.extent = (max(row.high - row.low for row in rows), *(axis[-1].high for axis in columns))
        self.values: np.ndarray | None = None  # made with the first tile, which tells the number of channels
        self.low = 0

    def add(self, spans: tuple[Span, ...], tile: np.ndarray) -> None:
        """Add a tile by its weights."""
        if self.values is None:
            self.values = np.zeros((len(tile), *self.extent), np.float32)
            self.low = spans[0].low
        place = (slice(spans[0].low - self.low, spans[0].high - self.low), *(slice(s.low, s.high) for s in spans[1:]))
        for axis, span in enumerate(spans, start=1):
            tile = tile * span.weights.reshape(-1, *(1,) * (len(spans) - axis))
        self.values[:, *place] += tile

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return the output rows start..stop."""
        return self.values[:, start - self.low : stop - self.low]

    def advance(self, low: int) -> None:
        """Drop the rows before `low`; the others move to the front and are added to further."""
        kept = self.values[:, low - self.low :].copy()
        self.values[:, : kept.shape[1]] = kept
        self.values[:, kept.shape[1] :] = 0
        self.low = low


def _read_padded(source: Source, spans: tuple[Span, ...]) -> np.ndarray:
    """Read a tile; what lies beyond the end is mirrored, or the edge repeated where the mirror is too short."""
    stops = [min(span.stop, length) for span, length in zip(spans, source.shape[1:], strict=True)]
    tile = source.read(tuple(slice(span.start, stop) for span, stop in zip(spans, stops, strict=True)))
    for axis, (span, stop) in enumerate(zip(spans, stops, strict=True), start=1):
        missing = span.stop - stop
        if missing:
            pads = [(0, missing if each == axis else 0) for each in range(tile.ndim)]
            tile = np.pad(tile, pads, mode="reflect" if missing < tile.shape[axis] else "edge")
    return np.ascontiguousarray(tile, dtype=np.float32)


class _ArraySource:
    """An array in memory as a source."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = array.shape

    def read(self, slices: tuple[slice, ...]) -> np.ndarray:
        return self.array[:, *slices]


class _ArraySink:
    """Collects rows in memory."""

    rows_done = 0

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []

    def write(self, rows: np.ndarray) -> None:
        self.parts.append(rows.copy())

    def commit(self) -> None:
        pass
