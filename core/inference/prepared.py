"""A program with what its card says of its input and outputs.

Channels are normalised, dates put one after the other, the frame is brought to one size and back; outputs that are
channels come in the units of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..weights.card import Card


def prepared(program: Callable[[Tensor], Tensor], card: Card) -> Callable[[Tensor], Tensor]:
    """Return a function of values in the card's units; the program itself where the card asks for nothing.

    Outputs that are channels themselves, before anything is made of them, are given in the channels' units too.

    Args:
        program: takes (N, C, *extent), normalised and of the card's frame where it has one; of several dates
            (N, dates * C, h, w). The function then takes (N, dates, C, h, w).
        card: says the `mean` and `std` of each channel, and the `frame` to which the whole extent is resized by
            linear interpolation. The outputs are resized back before anything is made of them.
    """
    if not (card.mean or card.frame or card.dates > 1):
        return program

    def run(x: Tensor) -> Tensor:
        extent = x.shape[-card.dimensions :]
        x = normalised(x, card)
        if not card.frame:
            return _in_units(program(x), card)
        outputs = _in_units(program(_resized(x, card.frame)), card)
        return _resized(outputs.float(), tuple(card.scale * size for size in extent))

    return run


def normalised(x: Tensor, card: Card) -> Tensor:
    """Return values in the card's units less each channel's mean and divided by its deviation.

    Args:
        x: (N, C, *extent); (N, dates, C, h, w) where there are several, which becomes (N, dates * C, h, w); or a bag
            (1, instances, C).
        card: says both.
    """
    if card.mean:
        across = (-1,) if card.kind == "bag" else (-1, *(1,) * card.dimensions)
        mean, std = (_along(each, x).view(across) for each in (card.mean, card.std))
        x = (x - mean) / std
    return x.flatten(1, 2) if card.dates > 1 else x


def _in_units(outputs: Tensor, card: Card) -> Tensor:
    """Return outputs that are channels in the units of these; others as they are. (N, C', *extent)."""
    names = card.outputs or card.channels
    if not card.mean or card.activation != "none" or not set(names) <= set(card.channels):
        return outputs
    of = [card.channels.index(name) for name in names]
    mean, std = (
        _along([each[index] for index in of], outputs).view(-1, *(1,) * card.dimensions)
        for each in (card.mean, card.std)
    )
    return outputs * std + mean


def _along(values: Sequence[float], x: Tensor) -> Tensor:
    """Return numbers as a tensor of another's type, where it is."""
    return torch.tensor(values, device=x.device, dtype=x.dtype)


def _resized(x: Tensor, extent: tuple[int, ...]) -> Tensor:
    """Resize the last axes; smoothed before where it gets smaller, as image programs do."""
    if x.shape[-len(extent) :] == extent:
        return x
    if len(extent) == 2:
        return F.interpolate(x, extent, mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(x, extent, mode="trilinear", align_corners=False)
