"""The engine: reads tiles from a source, runs a program on them, blends, and hands finished windows to a sink.

Memory holds a few tiles and what neighbouring tiles share, never the whole. Arrays are (C, *spatial), with two or
three spatial axes of which the first is streamed ("rows"). One thread reads ahead and one writes behind while the
program runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UserError
from ..weights.card import Card, Sizes
from .arrays import ArraySink, ArraySource
from .blend import Blender
from .device import Precision, autocast, find_device
from .intensity import with_intensity
from .pipeline import Batch, Pipeline
from .prepared import prepared
from .slices import along
from .streams import Index, Sink, Source
from .tiles import Blend, Span, plan_axis
from .tta import mean_over_views, probability_of, variance_over_views, views_of

Program = Callable[[Tensor], Tensor]
Tile = Sizes | Literal["auto", "whole"]
Progress = Callable[[int, int], None]
"""Called with (finished parts, all parts): tiles in the engine, rows or cases elsewhere."""


class Engine:
    """Runs a program over data of any size.

    Args:
        program: (N, C, *extent) float tensor, normalised as the card says -> (N, C', *scale * extent). A program of two
            dimensions takes a volume slice by slice. Of several dates it takes (N, dates * C, h, w).
        card: says the dimensions, the scale, the size multiple, the channels, what becomes of the outputs, and the
            default tile and overlap.
        device: "auto", "cpu", "cuda" or "cuda:1"; where the program already is.
        precision: what a network computes in; exported programs keep their own.
        tile: side of a tile in input samples, for all axes or each; "auto" for the card's; "whole" for all in one
            pass. What fits into one tile is always computed in one pass; so is all that the card resizes to a frame.
        overlap: input samples that neighbouring tiles share; None for the card's, or less where the tile is small.
        tta: average over mirrored and transposed views, at eight times the cost; see `views_of`.
        blend: how neighbouring tiles share an output sample.
        batch: tiles computed at once; exported programs take one.

    Raises:
        UserError: an option is out of its range, there is no such device, or the program is a classifier.
    """

    def __init__(
        self,
        program: Program,
        card: Card,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
        tile: Tile | None = "auto",
        overlap: Sizes | None = None,
        tta: bool = False,
        blend: Blend = "linear",
        batch: int = 1,
    ) -> None:
        if card.kind != "dense":
            whole = "bag" if card.kind == "bag" else "image"
            raise UserError(f"{card.name} gives one answer for a whole {whole}; run `foveal {card.app} infer`.")
        self.network = program
        self.program = prepared(program, card)
        self.card = card
        self.device = find_device(str(device))
        self.autocast = autocast(self.device, precision)
        self.tiles = self._tiles(tile)
        self._check_tiles(tile)
        self.overlaps = self._overlaps(overlap)
        self.tta = tta
        self.evaluate = partial(mean_over_views, self.program, views=views_of(card)) if tta else self.program
        self.blend = blend
        self.batch = batch if isinstance(program, nn.Module) else 1
        if batch < 1:
            raise UserError(f"--batch {batch}: give at least 1.")
        self.plan((1,) * card.dimensions)  # so that impossible options are told before any work

    def with_card(self, **changes: object) -> Engine:
        """Return an engine that differs in fields of the card that say what comes in or what becomes of the outputs.

        Args:
            changes: of the card: intensity, axis, activation, outputs, labels, value_range.
        """
        other = copy(self)
        other.card = replace(self.card, **changes)
        return other

    def with_program(self, program: Program) -> Engine:
        """Return an engine that runs another program in the same tiles.

        Args:
            program: has a `card` of its own, of the same sizes and scale.
        """
        other = copy(self)
        other.card, other.network, other.tta = program.card, program, False
        other.program = other.evaluate = prepared(program, program.card)
        return other

    def with_variance(self) -> Engine:
        """Return an engine that gives one channel more: the variance of the probabilities over mirrored views.

        Its other outputs are those of this engine, before anything is made of them.

        Raises:
            UserError: the program gives values, not probabilities or labels.
        """
        card = self.card
        other = self.with_card(activation="none", labels=(), outputs=(*(card.outputs or card.channels), "variance"))
        other.evaluate = partial(
            variance_over_views,
            self.program,
            views=views_of(card),
            activation=probability_of(card),
            averaged=self.tta,
        )
        return other

    def plan(self, extent: tuple[int, ...]) -> list[list[Span]]:
        """Return the tiles along each spatial axis for an input of this extent."""
        card, slices = self.card, len(extent) - self.card.dimensions
        least = 1 if card.frame else card.smallest_size
        smallest = self.tiles if card.fixed_tile else (least,) * card.dimensions
        axes = zip(extent[slices:], self.tiles, self.overlaps, card.per_axis("size_multiple"), smallest, strict=True)
        plans = [
            plan_axis(size, tile, overlap, card.scale, multiple, self.blend, side)
            for size, tile, overlap, multiple, side in axes
        ]
        return [plan_axis(size, 1, 0) for size in extent[:slices]] + plans

    def run(self, source: Source, sink: Sink, progress: Progress | None = None) -> None:
        """Compute all rows that the sink does not have yet, write them, and commit.

        Raises:
            UserError: the source's axes, channels or geometry are not those of the card or the sink; the program's
                output is not finite or not as large as the card says; a tile does not fit into the GPU's memory.
        """
        self._check(source, sink)
        if self.card.dimensions == 2:
            source, sink = along(source, sink, self.card.axis)
        source = with_intensity(source, self.card)
        axes = self.plan(source.shape[-source.spatial :])
        missing = [number for number, row in enumerate(axes[0]) if row.final > sink.rows_done]
        last = tuple(len(axis) - 1 for axis in axes[1:])
        tiles_of_row = math.prod(map(len, axes[1:]))
        done = (len(axes[0]) - len(missing)) * tiles_of_row
        blender = Blender(axes, sink.carry)
        with Pipeline(source, sink, axes, self.card.activation) as pipeline:
            for batch in pipeline.read(self._batches(axes, missing)):
                for index, values in zip(batch.indices, self._compute(batch, axes), strict=True):
                    pipeline.write(index, blender.add(index, values))
                done += len(batch.indices)
                row, *columns = batch.indices[-1]
                if tuple(columns) == last:
                    pipeline.finish(axes[0][row].final, blender.carry)
                if progress:
                    progress(done, len(axes[0]) * tiles_of_row)
        sink.commit()

    def array(self, x: np.ndarray) -> np.ndarray:
        """Return what the program makes of a whole float32 array, (C, *spatial) -> (C', *scale * spatial)."""
        sink = ArraySink([axis[-1].high for axis in self.plan(x.shape[1:])])
        self.run(ArraySource(x), sink)
        return sink.array

    def _tiles(self, tile: Tile | None) -> tuple[int | None, ...]:
        if tile in (None, "whole") or self.card.frame:
            return (None,) * self.card.dimensions
        if tile == "auto":
            return self.card.per_axis("tile")
        return self._each("tile", tile)

    def _check_tiles(self, tile: Tile | None) -> None:
        name, wanted = self.card.name, self.card.per_axis("tile")
        if self.card.fixed_tile and self.tiles != wanted:
            size = " x ".join(map(str, wanted))
            raise UserError(f"--tile {tile}: {name} runs tiles of exactly {size}; leave --tile out.")
        if min(each or self.card.smallest_size for each in self.tiles) < self.card.smallest_size:
            raise UserError(f"--tile {tile}: {name} needs tiles of at least {self.card.smallest_size}.")

    def _overlaps(self, overlap: Sizes | None) -> tuple[int, ...]:
        if overlap is not None:
            return self._each("overlap", overlap)
        tiles = [tile or size for tile, size in zip(self.tiles, self.card.per_axis("tile"), strict=True)]
        return tuple(min(each, tile // 2) for each, tile in zip(self.card.per_axis("overlap"), tiles, strict=True))

    def _each(self, name: str, value: Sizes) -> tuple[int, ...]:
        values = value if isinstance(value, tuple) else (value,) * self.card.dimensions
        if len(values) != self.card.dimensions:
            raise UserError(f"--{name} {value}: give one number, or one for each of {self.card.dimensions} axes.")
        return values

    def _check(self, source: Source, sink: Sink) -> None:
        card, channels, dates = self.card, source.shape[-source.spatial - 1], source.shape[: -source.spatial - 1]
        if math.prod(dates) != card.dates:
            found = f"a series of {dates[0]}" if dates else "one image"
            wanted = f"{card.dates} dates" if card.dates > 1 else "one date"
            hint = "choose as many files" if dates else "give a folder of dated files, and --dates"
            raise UserError(f"the input is {found}, {card.name} takes {wanted} at once; {hint}.")
        if channels != len(card.channels):
            raise UserError(f"the input has {channels} channels, the network takes {card.channels}.")
        if source.spatial < card.dimensions or (source.spatial > card.dimensions and card.scale > 1):
            raise UserError(f"the input has {source.spatial} spatial axes, the network works on {card.dimensions}.")
        if source.geometry is not None:
            difference = source.geometry.scaled(card.scale).difference(sink.geometry)
            if difference:
                raise UserError(f"the output would not lie where the input does: {difference}.")

    def _batches(self, axes: list[list[Span]], rows: Iterable[int]) -> Iterator[list[Index]]:
        """Yield the tiles of each row in groups of at most a batch."""
        for row in rows:
            indices = list(product([row], *(range(len(axis)) for axis in axes[1:])))
            yield from (indices[start : start + self.batch] for start in range(0, len(indices), self.batch))

    def _compute(self, batch: Batch, axes: list[list[Span]]) -> Iterator[np.ndarray | None]:
        """Yield the program's output for each tile, restricted to where the tile contributes; None for empty ones."""
        scales = (1,) * (len(axes) - self.card.dimensions) + (self.card.scale,) * self.card.dimensions
        outputs = iter(self._outputs(np.stack(batch.tiles), len(axes)) if batch.tiles else ())
        for index, is_empty in zip(batch.indices, batch.empty, strict=True):
            spans = (axis[number] for axis, number in zip(axes, index, strict=True))
            window = (slice(s.low - k * s.start, s.high - k * s.start) for s, k in zip(spans, scales, strict=True))
            yield None if is_empty else next(outputs)[:, *window]

    def _outputs(self, tiles: np.ndarray, spatial: int) -> np.ndarray:
        """Run the program on tiles, (N, C, *extent) -> float32 (N, C', *scale * extent)."""
        x = torch.from_numpy(tiles).to(self.device)
        if spatial > self.card.dimensions:
            x = x.squeeze(-spatial)  # one slice of a volume
        if self.card.dates == 1:
            x = x.flatten(1, -self.card.dimensions - 1)  # the only date of a series
        extent = tuple(x.shape[-self.card.dimensions :])
        try:
            with torch.inference_mode(), self.autocast:
                y = self.evaluate(x).float()
                y = (y.unsqueeze(-spatial) if spatial > self.card.dimensions else y).cpu().numpy()
        except torch.OutOfMemoryError:
            size = " x ".join(map(str, extent))
            raise UserError(f"a tile of {size} does not fit into the GPU's memory; give a smaller --tile.") from None
        expected = tuple(self.card.scale * size for size in extent)
        if y.shape[-self.card.dimensions :] != expected:
            raise UserError(f"the network made {y.shape[2:]} of {extent}; its card promises {expected}.")
        if not np.isfinite(y).all():
            raise UserError("the network's output is not finite; use --precision float32, or check the weights.")
        return y
