"""Where tiles lie along each axis, and how neighbours are blended so that their weights sum to one exactly."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..errors import UserError


@dataclass(frozen=True, eq=False)
class Span:
    """One tile along one axis.

    Attributes:
        start: first input sample.
        stop: one past the last input sample; beyond the axis where the axis is padded to a multiple.
        low: first output sample to which the tile contributes.
        high: one past the last such output sample; it is never beyond the axis.
        weights: share of the tile in the output samples low..high, float32 in 0..1.
    """

    start: int
    stop: int
    low: int
    high: int
    weights: np.ndarray


def plan_axis(length: int, tile: int | None, overlap: int, scale: int = 1, multiple: int = 1) -> list[Span]:
    """Cover one axis with tiles of one size, spread evenly, each sharing at least `overlap` samples with the next.

    Neighbours are blended by a linear ramp in the middle of what they share; the rest of it, where a network lacks
    context, is read but not used. At most two tiles contribute to a sample, and all weights are multiples of a power
    of two, so they sum to one without rounding, in products over several axes too.

    Args:
        length: input samples of the axis.
        tile: input samples of a tile, rounded up to the multiple; None for the whole axis in one tile.
        overlap: input samples that neighbours share at least; at most half a tile.
        scale: output samples per input sample.
        multiple: starts and sizes of tiles are multiples of this; the axis is padded at its end to fit. A tile of one
            multiple shares nothing.

    Raises:
        UserError: a tile below 1, or an overlap below 0 or above half a tile.
    """
    padded = _round_up(length, multiple)
    if tile is None:
        return _spans([0], padded, length * scale, scale, ramp=0)
    _check(tile, overlap)
    size = min(_round_up(tile, multiple), padded)
    starts = [multiple * start for start in _starts(padded // multiple, size // multiple, -(-overlap // multiple))]
    steps = [b - a for a, b in pairwise(starts)] or [size]
    ramp = _power_of_two_up_to(min(overlap, size - max(steps), min(steps)) * scale)
    return _spans(starts, size, length * scale, scale, ramp)


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


def _spans(starts: list[int], size: int, end: int, scale: int, ramp: int) -> list[Span]:
    """Put a ramp of `ramp` output samples in the middle of each shared stretch; `end` is the output's length."""
    middles = [(a + size + b) * scale // 2 for a, b in pairwise(starts)]
    lows = [middle - ramp // 2 for middle in middles]
    rise = (2 * np.arange(ramp, dtype=np.float32) + 1) / (2 * max(ramp, 1))
    spans = []
    for start, low, high in zip(starts, [0, *lows], [*(low + ramp for low in lows), end], strict=True):
        weights = np.ones(high - low, np.float32)
        if low > 0:
            weights[:ramp] = rise
        if high < end:
            weights[len(weights) - ramp :] = rise[::-1]
        spans.append(Span(start, start + size, low, high, weights))
    return spans


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _power_of_two_up_to(value: int) -> int:
    return 1 << (value.bit_length() - 1) if value > 0 else 0
