"""From a volume in its file to the network and back: intensity, grid and orientation as the weights card says.

Values are scaled as they are stored, then brought to the spacing of the card; the engine streams the stored axis D and
turns its tiles to the axes of the card. Outputs are brought back to the grid of the file before anything is made of
them. What the card does not ask for costs nothing.
"""

from __future__ import annotations

from copy import copy
from functools import partial

import numpy as np
import torch

from ..core.errors import UserError
from ..core.inference.engine import Engine, Progress
from ..core.inference.intensity import with_intensity
from ..core.inference.orientation import Turn, oriented, turn_between
from ..core.inference.prepared import normalised
from ..core.inference.streams import Sink, Source
from ..core.inference.tta import mean_over_views, views_of
from ..core.inference.windows import whole
from ..core.weights.card import Card
from .resample import resampled_labels
from .volume_grid import Grid, Regridded, RegriddedSink, grid_of

SLAB = 8 << 20  # samples of labels that are resampled at once


def run_volume(engine: Engine, source: Source, sink: Sink, progress: Progress | None = None) -> None:
    """Compute what a network makes of a volume, in the grid of its file, and commit.

    Where the card asks for labels or probabilities of exclusive classes, probabilities are what is averaged over views
    and tiles and brought back (see `giving_probabilities`). Where its activation is "none", the sink gets the outputs
    as they are, in the grid of the file.

    Args:
        engine: of three dimensions.
        source: the volume, in the units of its format.
        sink: in the same grid.
        progress: is told of finished rows, which are those of the network's grid.

    Raises:
        UserError: the volume does not fit the card, or does not say where its voxels lie and the card needs that; and
            what `Engine.run` raises.
    """
    card = engine.card
    _check(source, card)
    engine = giving_probabilities(engine)
    grid, turn = _grid(source, card)
    source = with_intensity(source, card)
    engine = engine.with_card(intensity={})
    if turn != STRAIGHT:
        engine = oriented(engine, source.geometry.orientation)
    if grid and grid.changes:
        source, sink = Regridded(source, grid), RegriddedSink(sink, grid, engine.card.activation)
        engine = engine.with_card(activation="none")
    engine.run(source, sink, progress)


def giving_probabilities(engine: Engine) -> Engine:
    """Return an engine whose program gives probabilities of exclusive classes, so that these are averaged.

    It is the given engine where its program does so already, or gives something else.
    """
    card = engine.card
    if card.probabilities or card.activation not in ("argmax", "softmax"):
        return engine
    program = engine.program
    other = copy(engine)
    other.card = copy(card)
    other = other.with_card(probabilities=True, activation="argmax" if card.activation == "argmax" else "none")
    other.program = lambda x: torch.softmax(program(x).float(), dim=1)
    views = views_of(card)
    other.evaluate = partial(mean_over_views, other.program, views=views) if engine.tta else other.program
    return other


def prepared_volume(source: Source, card: Card) -> np.ndarray:
    """Return a volume as a network sees it, float32 (C, D, H, W): in the grid and axes of its card, and normalised.

    It is what `run_volume` gives the program, all in one and not padded. The card's `frame` is not applied.

    Args:
        source: in the units of its format.
        card: of the network.

    Raises:
        UserError: as `run_volume`.
    """
    _check(source, card)
    grid, turn = _grid(source, card)
    source = with_intensity(source, card)
    source = Regridded(source, grid) if grid and grid.changes else source
    values = torch.from_numpy(source.read(whole(source.shape[1:])))
    return normalised(turn.to_network(values)[None], card)[0].numpy()


def prepared_labels(source: Source, card: Card) -> np.ndarray:
    """Return a label map as a network is trained on it, uint8 (D, H, W): in the grid and axes of its card.

    Args:
        source: of one channel of whole numbers of 0 to 255.
        card: of the network.

    Raises:
        UserError: other values, or several channels; and as `run_volume`.
    """
    _check_volume(source, card)
    if source.shape[0] != 1:
        raise UserError(f"the label map has {source.shape[0]} channels; give a volume of one.")
    grid, turn = _grid(source, card)
    labels = torch.from_numpy(_whole_numbers(source))
    if grid and grid.changes:
        labels = _regridded_labels(labels, grid)
    return turn.to_network(labels).numpy()


STRAIGHT = Turn((0, 1, 2), ())


def _check(source: Source, card: Card) -> None:
    _check_volume(source, card)
    if source.shape[0] != len(card.channels):
        raise UserError(f"the input has {source.shape[0]} channels, the network takes {card.channels}.")


def _check_volume(source: Source, card: Card) -> None:
    if source.spatial != 3 or len(source.shape) != 4:
        raise UserError(f"the input has {source.spatial} spatial axes; {card.name} takes volumes, which have 3.")
    if source.geometry is None and (card.spacing or card.orientation):
        raise UserError(f"the input does not say where its voxels lie, which {card.name} needs; convert it to NIfTI.")


def _grid(source: Source, card: Card) -> tuple[Grid | None, Turn]:
    """Return the grid of the stored axes that the card asks for, None for none, and how these are turned."""
    if source.geometry is None:
        return None, STRAIGHT
    turn = turn_between(source.geometry.orientation, card.orientation)
    return (grid_of(source.geometry, turn.of_file(card.spacing)) if card.spacing else None), turn


def _whole_numbers(source: Source) -> np.ndarray:
    """Read a label map slice by slice, uint8 (D, H, W)."""
    rows, *plane = whole(source.shape[1:])
    labels = np.empty(source.shape[1:], np.uint8)
    for row in range(rows.stop):
        values = source.read((slice(row, row + 1), *plane))[0, 0]
        labels[row] = values.clip(0, 255)
        if not np.array_equal(labels[row], values):
            wrong = values[labels[row] != values][0]
            raise UserError(f"the label map holds the value {wrong:g}; labels are whole numbers of 0 to 255.")
    return labels


def _regridded_labels(labels: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Bring labels to a grid, a few rows at once."""
    depth, *plane = grid.label_taps()
    step = max(1, SLAB // int(np.prod(grid.shape[1:])))
    parts = []
    for start in range(0, grid.shape[0], step):
        index = depth.index[start : start + step]
        low, high = int(index.min()), int(index.max()) + 1
        taps = depth.part(start, start + step, low)
        parts.append(resampled_labels(labels[low:high], [taps, *plane]))
    return torch.cat(parts)
