"""A program with what its card says of its input: channels normalised, the frame brought to one size and back."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..weights.card import Card


def prepared(program: Callable[[Tensor], Tensor], card: Card) -> Callable[[Tensor], Tensor]:
    """Return a function of values in the card's units; the program itself where the card asks for nothing.

    Args:
        program: takes (N, C, *extent), normalised and of the card's frame where it has one.
        card: says the `mean` and `std` of each channel, and the `frame` to which the whole extent is resized by
            linear interpolation. The outputs are resized back before anything is made of them.
    """
    if not (card.mean or card.frame):
        return program

    def run(x: Tensor) -> Tensor:
        extent = x.shape[-card.dimensions :]
        x = normalised(x, card)
        if not card.frame:
            return program(x)
        outputs = program(_resized(x, card.frame))
        return _resized(outputs.float(), tuple(card.scale * size for size in extent))

    return run


def normalised(x: Tensor, card: Card) -> Tensor:
    """Return values in the card's units less each channel's mean and divided by its deviation.

    Args:
        x: (N, C, *extent), or a bag (1, instances, C).
        card: says both.
    """
    if not card.mean:
        return x
    across = (-1,) if card.kind == "bag" else (-1, *(1,) * card.dimensions)
    mean, std = (torch.tensor(each, device=x.device, dtype=x.dtype).view(across) for each in (card.mean, card.std))
    return (x - mean) / std


def _resized(x: Tensor, extent: tuple[int, ...]) -> Tensor:
    """Resize the last axes; smoothed before where it gets smaller, as image programs do."""
    if x.shape[-len(extent) :] == extent:
        return x
    if len(extent) == 2:
        return F.interpolate(x, extent, mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(x, extent, mode="trilinear", align_corners=False)
