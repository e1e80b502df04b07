"""Bringing a source's values, in the units of its format, to those that a network was trained on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..weights.card import Card
from .streams import Source, Window
from .windows import slabs, whole

STRIP = 4 << 20  # samples that are looked at at once
BINS = 65_536  # of the histogram from which percentiles are read


def with_intensity(source: Source, card: Card) -> Source:
    """Return a source whose values are those that the card asks for; the source itself where it asks for nothing.

    Statistics are those of the whole source, taken in one or two passes of bounded memory, each channel by itself.

    Args:
        source: gives values in the units of its format.
        card: its `intensity` says what to do.
    """
    return _Scaled(source, card) if card.intensity else source


class _Scaled:
    """A source whose values are mapped linearly and cut off."""

    def __init__(self, source: Source, card: Card) -> None:
        self.source = source
        self.shape, self.spatial, self.geometry = source.shape, source.spatial, source.geometry
        self.map = _mapping(source, card)

    def read(self, window: Window) -> np.ndarray:
        return self.map(self.source.read(window))

    def is_empty(self, window: Window) -> bool:
        return self.source.is_empty(window)


def _mapping(source: Source, card: Card) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that maps a window of values."""
    match card.intensity:
        case {"window": [low, high]}:
            return lambda values: _stretched(values, np.float32(low), np.float32(high), card)
        case {"percentiles": [low, high]}:
            lows, highs = (_columns(each, source) for each in _percentiles(source, low, high))
            return lambda values: _stretched(values, lows, highs, card)
        case {"zscore": True | "nonzero" as counted}:
            means, deviations = (_columns(each, source) for each in _moments(source, counted == "nonzero"))
            deviations = np.maximum(deviations, np.float32(1e-8))
            if counted == "nonzero":
                return lambda values: np.where(values == 0, values, (values - means) / deviations)
            return lambda values: (values - means) / deviations
    raise AssertionError(card.intensity)  # the card has checked it


def _stretched(values: np.ndarray, low: np.ndarray, high: np.ndarray, card: Card) -> np.ndarray:
    """Map low..high to the card's value range; what lies beyond is cut off."""
    bottom, top = card.value_range
    unit = (values - low) / np.maximum(high - low, np.float32(1e-8))
    return unit.clip(0, 1) * np.float32(top - bottom) + np.float32(bottom)


def _columns(values: np.ndarray, source: Source) -> np.ndarray:
    """Shape one number for each channel so that it applies to a window."""
    return values.astype(np.float32).reshape(-1, *(1,) * source.spatial)


def _strips(source: Source) -> list[Window]:
    """Return windows that cover the spatial axes, a few rows each."""
    return [*slabs(whole(source.shape[-source.spatial :]), most=STRIP // source.shape[-source.spatial - 1])]


def _channels(values: np.ndarray, source: Source) -> np.ndarray:
    """Return the samples of each channel, float64 (C, samples)."""
    channels_first = np.moveaxis(values, -source.spatial - 1, 0)
    return channels_first.reshape(len(channels_first), -1).astype(np.float64)


def _moments(source: Source, nonzero: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel, both passes kept apart for their precision.

    Args:
        source: what they are taken of.
        nonzero: leave out samples that are zero, as nnU-Net does with what lies outside of its mask.
    """
    count, total, squares = 0, 0, 0
    for window in _strips(source):
        samples = _channels(source.read(window), source)
        counted = (samples != 0).sum(axis=1) if nonzero else samples.shape[1]
        count, total = count + counted, total + samples.sum(axis=1)
    mean = total / np.maximum(count, 1)
    for window in _strips(source):
        samples = _channels(source.read(window), source)
        apart = (samples - mean[:, None]) ** 2
        squares = squares + (apart.sum(axis=1, where=samples != 0) if nonzero else apart.sum(axis=1))
    return mean, np.sqrt(squares / np.maximum(count, 1))


def _percentiles(source: Source, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return two percentiles of each channel, to a 65,536th of its range."""
    ranges = [
        (samples.min(axis=1), samples.max(axis=1))
        for samples in (_channels(source.read(window), source) for window in _strips(source))
    ]
    least, most = np.min([each[0] for each in ranges], axis=0), np.max([each[1] for each in ranges], axis=0)
    counts = np.zeros((len(least), BINS))
    for window in _strips(source):
        for channel, samples in enumerate(_channels(source.read(window), source)):
            counts[channel] += np.histogram(samples, BINS, (least[channel], most[channel]))[0]
    shares = counts.cumsum(axis=1) / counts.sum(axis=1, keepdims=True)
    edges = [(shares < each / 100).sum(axis=1) / BINS for each in (low, high)]
    bottom, top = (least + each * (most - least) for each in edges)
    return bottom, np.minimum(top + (most - least) / BINS, most)
