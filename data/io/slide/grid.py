"""Reading a pyramid at any resolution: windows of a grid of square pixels laid over the finest level.

A pixel of the grid is the mean of the area it covers; neighbouring windows agree bit by bit with one large window.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from .levels import Levels

BLOCK = 256  # pixels along a side of what is decoded at once
BLOCKS = 128  # kept: 25 MB
CHUNK = 1024  # pixels of a level along a side of what is averaged at once
SAME = 0.01  # relative difference of resolutions that counts as none

Range = tuple[int, int]


class Pyramid:
    """The levels of a slide, in blocks of which the last used are kept.

    Args:
        levels: where pixels come from.

    Attributes:
        downsamples: pixels of the finest level per pixel of each level, along (H, W).
    """

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        self.sizes = levels.sizes
        self.downsamples = [_downsample(levels.sizes[0], size) for size in levels.sizes]
        self._blocks: OrderedDict[tuple[int, int, int], np.ndarray] = OrderedDict()

    def pixels(self, level: int, rows: Range, columns: Range) -> np.ndarray:
        """Return a part of a level, uint8 (h, w, 3)."""
        (top, bottom), (left, right) = rows, columns
        part = np.empty((bottom - top, right - left, 3), np.uint8)
        for row in range(top // BLOCK, -(-bottom // BLOCK)):
            for column in range(left // BLOCK, -(-right // BLOCK)):
                block = self._block(level, row, column)
                y, x = row * BLOCK, column * BLOCK
                inner = block[max(top - y, 0) : bottom - y, max(left - x, 0) : right - x]
                y, x = max(y - top, 0), max(x - left, 0)
                part[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
        return part

    def _block(self, level: int, row: int, column: int) -> np.ndarray:
        """Return a block; always cut in the same way, as OpenSlide may interpolate."""
        key = (level, row, column)
        if key in self._blocks:
            self._blocks.move_to_end(key)
            return self._blocks[key]
        top, left = row * BLOCK, column * BLOCK
        height, width = (min(BLOCK, size - low) for size, low in zip(self.sizes[level], (top, left), strict=True))
        block = self._blocks[key] = self.levels.pixels(level, top, left, height, width)
        if len(self._blocks) > BLOCKS:
            self._blocks.popitem(last=False)
        return block


class Grid:
    """A pyramid at one resolution, averaged from the nearest finer level.

    A level whose resolution is the same within one percent is read as it is.

    Args:
        pyramid: the slide.
        downsample: wanted pixels of the finest level per pixel of the grid; below 1 the finest level is interpolated
            linearly.

    Attributes:
        downsample: what is given.
        shape: (H, W).
    """

    def __init__(self, pyramid: Pyramid, downsample: float) -> None:
        self.pyramid = pyramid
        finer = [index for index, each in enumerate(pyramid.downsamples) if max(each) <= downsample * (1 + SAME)]
        self.level = max(finer, key=lambda index: pyramid.downsamples[index], default=0)
        steps = pyramid.downsamples[self.level]
        self.is_level = all(abs(downsample / step - 1) <= SAME for step in steps)
        self.downsample = sum(steps) / 2 if self.is_level else downsample
        self.size = pyramid.sizes[self.level]
        self.steps = tuple(downsample / step for step in steps)  # pixels of the level per pixel of the grid
        self.shape = self.size if self.is_level else _rounded(pyramid.sizes[0], downsample)

    def read(self, rows: Range, columns: Range) -> np.ndarray:
        """Return a window, float32 (3, h, w) in 0..255."""
        if self.is_level:
            return np.moveaxis(self.pyramid.pixels(self.level, rows, columns), -1, 0).astype(np.float32)
        window = np.empty((3, rows[1] - rows[0], columns[1] - columns[0]), np.float32)
        tall, wide = (max(int(CHUNK // step), 1) for step in self.steps)
        for top in range(rows[0], rows[1], tall):
            for left in range(columns[0], columns[1], wide):
                bottom, right = min(top + tall, rows[1]), min(left + wide, columns[1])
                place = (slice(top - rows[0], bottom - rows[0]), slice(left - columns[0], right - columns[0]))
                window[:, *place] = self._averaged((top, bottom), (left, right))
        return window

    def pixels(self, rows: Range, columns: Range) -> np.ndarray:
        """Return a window in 8 bits, uint8 (h, w, 3)."""
        if self.is_level:
            return self.pyramid.pixels(self.level, rows, columns)
        return np.moveaxis(self.read(rows, columns), 0, -1).round().astype(np.uint8)

    def strip(self, size: int) -> float:
        """Return how wide a strip may be (pixels) whose windows of this size, row by row, decode nothing twice."""
        tall = -(-size * self.steps[0] // BLOCK) + 1  # rows of blocks that a row of windows touches
        return max(BLOCKS // tall - 2, 1) * BLOCK / self.steps[1]

    def _averaged(self, rows: Range, columns: Range) -> np.ndarray:
        (y, y_weights), (x, x_weights) = (
            _taps(*each, step, size) for each, step, size in zip((rows, columns), self.steps, self.size, strict=True)
        )
        top, left = int(y.min()), int(x.min())
        pixels = self.pyramid.pixels(self.level, (top, int(y.max()) + 1), (left, int(x.max()) + 1))
        samples = _weighted(pixels.astype(np.float32), y - top, y_weights[..., None, None], axis=0)
        samples = _weighted(samples, x - left, x_weights[..., None], axis=1)
        return np.moveaxis(samples.clip(0, 255, out=samples), -1, 0)


def _taps(start: int, stop: int, step: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which samples of an axis make up the samples start..stop of a coarser or finer one, and their shares.

    Returns:
        indices and weights, (taps, stop - start); they depend on the sample alone, not on the window.
    """
    low = np.arange(start, stop, dtype=np.float64) * step
    if step < 1:
        centre = (low + step / 2 - 0.5).clip(0, size - 1)
        indices = np.floor(centre).astype(np.int64) + np.arange(2)[:, None]
        weights = np.stack([indices[1] - centre, centre - indices[0]])
    else:
        low = low.clip(0, size - 1)
        high = np.minimum(low + step, size)
        indices = np.floor(low).astype(np.int64) + np.arange(int(np.ceil(step)) + 1)[:, None]
        weights = (np.minimum(high, indices + 1) - np.maximum(low, indices)).clip(0)
        weights /= weights.sum(axis=0)
    return indices.clip(0, size - 1), weights.astype(np.float32)


def _weighted(samples: np.ndarray, indices: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Sum weighted samples along an axis, one tap after the other, so that no window's size changes the rounding."""
    total = None
    for index, weight in zip(indices, weights, strict=True):
        part = samples.take(index, axis)
        part *= weight
        total = part if total is None else np.add(total, part, out=total)
    return total


def _downsample(finest: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    """Return how much coarser a level is; a whole number where the level's size is cut or filled up by less than one.

    Scanners cut what does not fill a pixel, so that the ratio of sizes is a little off.
    """
    ratios = [a / b for a, b in zip(finest, size, strict=True)]
    whole = round(min(ratios))
    if all(abs(a / whole - b) < 1 for a, b in zip(finest, size, strict=True)):
        return float(whole), float(whole)
    return tuple(ratios)


def _rounded(size: tuple[int, int], downsample: float) -> tuple[int, int]:
    height, width = (max(round(each / downsample), 1) for each in size)
    return height, width
