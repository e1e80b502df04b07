"""Running a network of volumes whose axes point another way than those of a file: tiles are turned, not the file.

An orientation names where the indices of (D, H, W) grow to, a letter for each: "SPL" for towards the head (S, not I),
back (P, not A) and left (L, not R).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import NamedTuple, TypeVar

from torch import Tensor

from ..weights.card import AXES
from .engine import Engine

T = TypeVar("T")


class Turn(NamedTuple):
    """How the axes of a network lie in those of a file.

    Attributes:
        order: for each axis of the network, the number of the file's axis along which it runs.
        flipped: the axes of the network that run the other way.
    """

    order: tuple[int, ...]
    flipped: tuple[int, ...]

    def to_network(self, x: Tensor) -> Tensor:
        """Return a tensor whose last three axes are a file's with them as the network has them."""
        first = x.ndim - 3
        turned = x.permute(*range(first), *(first + axis for axis in self.order))
        return turned.flip([first + axis for axis in self.flipped]).contiguous()

    def to_file(self, x: Tensor) -> Tensor:
        """Return a tensor whose last three axes are the network's with them as the file has them."""
        first = x.ndim - 3
        turned = x.flip([first + axis for axis in self.flipped])
        return turned.permute(*range(first), *(first + axis for axis in self.of_file((0, 1, 2)))).contiguous()

    def of_file(self, values: tuple[T, ...]) -> tuple[T, ...]:
        """Return one value for each axis of the file, given one for each of the network; () stays ()."""
        return tuple(values[self.order.index(axis)] for axis in range(3)) if values else ()


def turn_between(stored: str, wanted: str) -> Turn:
    """Return how to turn what is stored in one orientation into another; "" wants what is stored."""
    pairs = [next(pair for pair in AXES if letter in pair) for letter in stored]
    wanted = wanted or stored
    order = tuple(next(i for i, pair in enumerate(pairs) if letter in pair) for letter in wanted)
    flipped = tuple(axis for axis, letter in enumerate(wanted) if stored[order[axis]] != letter)
    return Turn(order, flipped)


def oriented(engine: Engine, stored: str) -> Engine:
    """Return an engine that takes volumes as a file has them and shows them to the program as its card wants them.

    Its card, tiles and overlaps are those of the given engine in the order of the file's axes. It is the given engine
    where its card asks for no orientation, or for this one.

    Args:
        engine: of three dimensions.
        stored: orientation of the file.
    """
    card = engine.card
    turn = turn_between(stored, card.orientation)
    if turn == turn_between(stored, stored):
        return engine
    sizes = {name: turn.of_file(card.per_axis(name)) for name in ("tile", "overlap", "size_multiple")}
    other = copy(engine)
    other.card = replace(
        card, orientation=stored, spacing=turn.of_file(card.spacing), frame=turn.of_file(card.frame), **sizes
    )
    other.tiles, other.overlaps = turn.of_file(engine.tiles), turn.of_file(engine.overlaps)
    other.program, other.evaluate = _turned(engine.program, turn), _turned(engine.evaluate, turn)
    return other


def _turned(program: Callable[[Tensor], Tensor], turn: Turn) -> Callable[[Tensor], Tensor]:
    return lambda x: turn.to_file(program(turn.to_network(x)))
