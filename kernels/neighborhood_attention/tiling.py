"""A map's tokens in tiles of queries with the keys around them, over any number of axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby, product
from math import prod

import torch
from torch import Tensor

from ..group_attention.groups import Group, constants, over_axes
from .axis import Axis, Tile, tiles

SIDES = {1: 32, 2: 6, 3: 4}
"""Queries of a tile along each axis, by the number of axes."""


def neighborhoods(axes: tuple[Axis, ...], biased: bool) -> tuple[Group, ...]:
    """Return the groups of neighbourhood attention; tiles that differ by their place alone are one group.

    Args:
        axes: of the map.
        biased: say where each pair finds its bias in a table of the key's offset from the query, (2 kernel - 1) long
            for each axis, the last axis fastest.
    """
    return _neighborhoods(axes, biased)


# Else a compiler follows how they are made, and takes no cache. `torch.compiler.assume_constant_result` sets the same
# mark, and imports the compiler, which takes seconds.
neighborhoods._dynamo_marked_constant = True


@lru_cache(maxsize=32)
def _neighborhoods(axes: tuple[Axis, ...], biased: bool) -> tuple[Group, ...]:
    with constants():
        kinds = [_kinds(tiles(axis, SIDES[len(axes)])) for axis in axes]
        return tuple(_group(axes, kind, biased) for kind in product(*kinds))


def _kinds(found: list[Tile]) -> list[list[Tile]]:
    def alike(tile: Tile) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...], int]:
        return tile.offsets, tile.seen, len(tile.keys)

    return [list(kind) for _, kind in groupby(sorted(found, key=alike), key=alike)]


def _group(axes: Sequence[Axis], kind: Sequence[list[Tile]], biased: bool) -> Group:
    hidden = over_axes([~_seen(tiles[0]) for tiles in kind], torch.logical_or)
    offsets = [_offsets(tiles[0], axis) for tiles, axis in zip(kind, axes, strict=True)]
    return Group(
        _numbers(
            [torch.tensor([tile.queries for tile in tiles]) for tiles in kind], [axis.size for axis in axes]
        ).int(),
        _numbers([torch.tensor([tile.keys for tile in tiles]) for tiles in kind], [axis.size for axis in axes]).int(),
        pairs=_numbers(offsets, [2 * axis.kernel - 1 for axis in axes]).int() if biased else None,
        penalty=torch.zeros(hidden.shape).masked_fill_(hidden, -torch.inf) if hidden.any() else None,
    )


def _seen(tile: Tile) -> Tensor:
    """Return (n, m), true where a query of the tile sees a key."""
    bounds = torch.tensor(tile.seen)
    places = torch.arange(len(tile.keys))
    return (bounds[:, :1] <= places) & (places < bounds[:, 1:])


def _offsets(tile: Tile, axis: Axis) -> Tensor:
    """Return (n, m), the key's offset from the query in steps of the dilation, from 0 for the least of those seen."""
    queries, keys = torch.tensor(tile.queries), torch.tensor(tile.keys)
    offsets = (keys - queries[:, None]) // axis.dilation + axis.kernel - 1
    return offsets.clamp_(0, 2 * axis.kernel - 2)  # pairs that are not seen find any bias


def _numbers(places: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Return the numbers of the tokens of a map of `sizes` from their places along each axis, (any, any) each."""
    scaled = [place * prod(sizes[axis + 1 :]) for axis, place in enumerate(places)]
    return over_axes(scaled, torch.add)
