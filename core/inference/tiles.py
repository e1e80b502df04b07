"""Where tiles lie along each axis, and how neighbours are blended so that their weights sum to one exactly."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from ..errors import UserError

Blend = Literal["linear", "gaussian", "constant"]
STEPS = 256  # weights are multiples of 1/STEPS at most, so that products over three axes still sum without rounding


@dataclass(frozen=True, eq=False)
class Span:
    """One tile along one axis.

    Attributes:
        start: first input sample.
        stop: one past the last input sample; beyond the axis where the axis is padded to a multiple.
        low: first output sample to which the tile contributes.
        final: one past the last output sample that is finished with this tile, the first of the next one.
        high: one past the last output sample to which the tile contributes; it is never beyond the axis.
        weights: share of the tile in the output samples low..high, float32 in 0..1.
    """

    start: int
    stop: int
    low: int
    final: int
    high: int
    weights: np.ndarray


def plan_axis(
    length: int,
    tile: int | None,
    overlap: int,
    scale: int = 1,
    multiple: int = 1,
    blend: Blend = "linear",
    smallest: int = 1,
) -> list[Span]:
    """Cover one axis with tiles of one size, spread evenly, each sharing at least `overlap` samples with the next.

    Blended linearly, neighbours meet in a ramp in the middle of what they share; the rest of it, where a network lacks
    context, is read but not used. The other two use all that is shared: by a Gaussian around the tile's centre whose
    standard deviation is an eighth of the tile, or by equal parts.

    Args:
        length: input samples of the axis.
        tile: input samples of a tile, rounded up to the multiple; None for the whole axis in one tile.
        overlap: input samples that neighbours share at least; at most half a tile.
        scale: output samples per input sample.
        multiple: starts and sizes of tiles are multiples of this; the axis is padded at its end to fit. A tile of one
            multiple shares nothing.
        blend: how neighbours share an output sample.
        smallest: input samples that a tile has at least; a shorter axis is padded at its end.

    Raises:
        UserError: a tile below 1, or an overlap below 0 or above half a tile.
    """
    padded = _round_up(max(length, smallest), multiple)
    if tile is None:
        return _spans([0], padded, [0], [length * scale], [np.ones(length * scale, np.float32)])
    _check(tile, overlap)
    size = min(_round_up(tile, multiple), padded)
    starts = [multiple * start for start in _starts(padded // multiple, size // multiple, -(-overlap // multiple))]
    if blend == "linear":
        return _ramped(starts, size, overlap, length * scale, scale)
    return _shared(starts, size, length * scale, scale, blend)


def _check(tile: int, overlap: int) -> None:
    if tile < 1:
        raise UserError(f"--tile {tile}: a tile needs at least one pixel; give a larger number, or auto.")
    if not 0 <= overlap <= tile // 2:
        raise UserError(
            f"--overlap {overlap} does not fit tiles of {tile}: it must be between 0 and {tile // 2}. "
            "Give a smaller overlap or a larger tile."
        )


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Return evenly spread starts, the first at 0 and the last tile at the end."""
    if length <= tile:
        return [0]
    stride = max(tile - overlap, 1)
    gaps = -(-(length - tile) // stride)
    return [index * (length - tile) // gaps for index in range(gaps + 1)]


def _ramped(starts: list[int], size: int, overlap: int, end: int, scale: int) -> list[Span]:
    """Put a ramp in the middle of each shared stretch; at most two tiles contribute to a sample."""
    steps = [b - a for a, b in pairwise(starts)] or [size]
    ramp = _power_of_two_up_to(min(overlap, size - max(steps), min(steps)) * scale)
    middles = [(a + size + b) * scale // 2 for a, b in pairwise(starts)]
    lows = [0, *(middle - ramp // 2 for middle in middles)]
    highs = [*(low + ramp for low in lows[1:]), end]
    rise = (2 * np.arange(ramp, dtype=np.float32) + 1) / (2 * max(ramp, 1))
    weights = [np.ones(high - low, np.float32) for low, high in zip(lows, highs, strict=True)]
    for earlier, later in pairwise(weights):
        earlier[len(earlier) - ramp :] = rise[::-1]
        later[:ramp] = rise
    return _spans(starts, size, lows, highs, weights)


def _shared(starts: list[int], size: int, end: int, scale: int, blend: Blend) -> list[Span]:
    """Let every tile contribute wherever it lies."""
    lows = [start * scale for start in starts]
    highs = [min(low + size * scale, end) for low in lows]
    position = (np.arange(size * scale) + 0.5) / (size * scale) - 0.5
    bell = np.exp(-0.5 * (position / 0.125) ** 2) if blend == "gaussian" else np.ones(size * scale)
    places = list(zip(lows, highs, strict=True))
    total, tiles, missing = np.zeros(end), np.zeros(end, int), np.ones(end)
    for low, high in places:
        total[low:high] += bell[: high - low]
        tiles[low:high] += 1
    weights = []
    for low, high in places:
        tiles[low:high] -= 1
        part = np.round(bell[: high - low] / total[low:high] * STEPS) / STEPS if blend == "gaussian" else None
        part = np.float32(1 / total[low:high]).astype(float) if part is None else part
        part = np.where(tiles[low:high] == 0, missing[low:high], part)  # the last tile of a sample makes it whole
        missing[low:high] -= part
        weights.append(part.astype(np.float32))
    return _spans(starts, size, lows, highs, weights)


def _spans(starts: list[int], size: int, lows: list[int], highs: list[int], weights: list[np.ndarray]) -> list[Span]:
    finals = [*lows[1:], highs[-1]]
    stops = [start + size for start in starts]
    return [Span(*each) for each in zip(starts, stops, lows, finals, highs, weights, strict=True)]


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _power_of_two_up_to(value: int) -> int:
    return 1 << (value.bit_length() - 1) if value > 0 else 0
