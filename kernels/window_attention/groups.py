"""Windows as groups of tokens: those that differ by their place alone are one group, with one mask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import NamedTuple

import torch

from ..group_attention.groups import Group, constants, over_axes
from .layout import PENALTY, WindowLayout, hashable, whole_sizes


class Stripe(NamedTuple):
    """What one window takes of one axis.

    Attributes:
        places: of its tokens in the map; -1 for padding.
        parts: numbers that tell tokens apart which only the cyclic shift has brought together.
    """

    places: tuple[int, ...]
    parts: tuple[int, ...]


def window_groups(sizes: Sequence[int], layout: WindowLayout) -> tuple[Group, ...]:
    """Return the windows of a map; without padding among the queries, nor among the keys where it is masked."""
    return _window_groups(tuple(sizes), hashable(layout))


@lru_cache(maxsize=32)
def _window_groups(sizes: tuple[int, ...], layout: WindowLayout) -> tuple[Group, ...]:
    with constants():
        whole = whole_sizes(sizes, layout)
        kinds = [_kinds(_stripes(axis, size, whole[axis], layout)) for axis, size in enumerate(sizes)]
        found = [_group(kind, sizes, layout.mask_padding) for kind in product(*kinds)]
        return tuple(group for group in found if group is not None)


def _stripes(axis: int, size: int, whole: int, layout: WindowLayout) -> list[Stripe]:
    side, shift = layout.window[axis], layout.shift[axis]
    turn = size if layout.roll_first else whole
    places = [(i + shift) % turn if i < turn else size for i in range(whole)]
    places = [place if place < size else -1 for place in places]
    parts = [int(shift > 0 and i >= whole - side) + int(shift > 0 and i >= whole - shift) for i in range(whole)]
    count = whole // side
    members = [range(i, whole, count) if layout.dilated else range(i * side, (i + 1) * side) for i in range(count)]
    return [Stripe(tuple(places[i] for i in each), tuple(parts[i] for i in each)) for each in members]


def _kinds(stripes: list[Stripe]) -> list[list[Stripe]]:
    kinds: dict[tuple[tuple[int, ...], tuple[bool, ...]], list[Stripe]] = {}
    for stripe in stripes:
        different = tuple(part - min(stripe.parts) for part in stripe.parts)
        kinds.setdefault((different, tuple(place < 0 for place in stripe.places)), []).append(stripe)
    return list(kinds.values())


def _group(kind: Sequence[list[Stripe]], sizes: Sequence[int], mask_padding: bool) -> Group | None:
    padded = over_axes([torch.tensor([stripes[0].places]) < 0 for stripes in kind], torch.logical_or)[0]
    if padded.all():
        return None
    axes = range(len(sizes))
    places = [torch.tensor([stripe.places for stripe in stripes]).clamp_(min=0) for stripes in kind]
    tokens = over_axes([places[axis] * prod(sizes[axis + 1 :]) for axis in axes], torch.add)
    parts = over_axes([torch.tensor([kind[axis][0].parts]) * 3**axis for axis in axes], torch.add)[0]
    real = (~padded).nonzero().flatten()
    keys = real if mask_padding else torch.arange(len(padded))
    apart = parts[real, None] != parts[keys]
    attended = bool(padded.any()) and not mask_padding
    queries = tokens[:, real].int()
    return Group(
        queries,
        tokens.int() if attended else queries,
        padded=padded if attended else None,
        own=real if attended else None,
        pairs=(real[:, None] * len(padded) + keys).int() if padded.any() else None,
        penalty=PENALTY * apart if apart.any() else None,
    )
