"""Grey data for programs that take colours. Needs no torch."""

from __future__ import annotations

import numpy as np

from ..weights.card import RGB, Card
from .streams import Source, Window


def as_rgb(source: Source, card: Card) -> Source:
    """Return a source that repeats its one channel as red, green and blue where a card's labels are made of these.

    The source itself where it has several channels, or the card others.
    """
    is_grey = source.shape[-source.spatial - 1] == 1 and source.spatial + 1 == len(source.shape)
    return _Repeated(source) if is_grey and card.channels == RGB and card.activation != "none" else source


class _Repeated:
    """A source whose one channel is repeated."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.shape = (len(RGB), *source.shape[1:])
        self.spatial, self.geometry = source.spatial, source.geometry

    def read(self, window: Window) -> np.ndarray:
        return self.source.read(window).repeat(len(RGB), axis=0)

    def is_empty(self, window: Window) -> bool:
        return self.source.is_empty(window)
