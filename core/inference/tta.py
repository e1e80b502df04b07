"""Test-time augmentation: the mean over mirrored and transposed views of a picture, and how far the views disagree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..weights.card import Activation, Card

HIGHEST_VARIANCE = 0.25
"""Of any number that lies in 0..1: half of the views say 0 and half say 1."""


class View(NamedTuple):
    """One way to look at a picture.

    Attributes:
        is_transposed: whether its last two axes change places.
        flipped: the axes that are mirrored before that, counted from the end.
    """

    is_transposed: bool
    flipped: tuple[int, ...]


def views_of(card: Card) -> list[View]:
    """Return the views of a program, the picture as it is first; eight, or four where transposing changes its shape.

    In two dimensions they are mirrored along both axes and transposed; not transposed where the card has another
    frame, fixed tile, size multiple or spacing along one axis than along the other, as the program never saw such
    pictures. In three dimensions they are mirrored along every axis, as the axes of a body do not change places.
    """
    axes = tuple(range(-card.dimensions, 0))
    sizes = card.per_axis("tile") if card.fixed_tile else card.frame
    alike = all(len({*each}) <= 1 for each in (sizes, card.per_axis("size_multiple"), card.spacing))
    turns = (False, True) if card.dimensions == 2 and alike else (False,)
    return [
        View(is_transposed, tuple(axis for axis, flip in zip(axes, flips, strict=True) if flip))
        for is_transposed, *flips in product(turns, *[(False, True)] * card.dimensions)
    ]


def probability_of(card: Card) -> Activation:
    """Return what makes probabilities of the outputs of a card that gives labels or probabilities.

    Raises:
        UserError: the card gives values.
    """
    activation: dict[str, Activation] = {"threshold": "sigmoid", "argmax": "none" if card.probabilities else "softmax"}
    found = activation.get(card.activation, card.activation)
    if found == "none" and not card.probabilities:
        raise UserError(f"{card.name} gives values, not classes; leave out --probabilities and --uncertainty.")
    return found


def mean_over_views(program: Callable[[Tensor], Tensor], x: Tensor, views: Sequence[View]) -> Tensor:
    """Return the mean of a program's outputs over views, each turned back.

    Args:
        program: (N, C, ..., h, w) -> (N, C', ..., s h, s w), for any h and w.
        x: the input, (N, C, ..., h, w).
        views: as `views_of` gives them.

    Source: "geometric self-ensemble", Lim et al. 2017 (EDSR), section 4.2.
    """
    total = None
    for view in views:
        result = _seen(program, x, view)
        total = result if total is None else total.add_(result)
    return total / len(views)


def variance_over_views(
    program: Callable[[Tensor], Tensor], x: Tensor, views: Sequence[View], activation: Activation, averaged: bool
) -> Tensor:
    """Return a program's outputs and, as one more channel, how far the views disagree.

    That is the variance over the views of the probability of each class, 0..0.25, the mean over the classes.

    Args:
        program: as for `mean_over_views`.
        x: the input, (N, C, ..., h, w).
        views: as `views_of` gives them.
        activation: what makes probabilities of the outputs: "sigmoid", "softmax", or "none" where they are it already.
        averaged: give the mean of the outputs over the views; else those of the first view, as without augmentation.

    Returns:
        (N, C' + 1, ..., s h, s w), float32.

    Source: aleatoric uncertainty by test-time augmentation, Wang et al. 2019 (Neurocomputing 338), section 3.3.
    """
    outputs = mean = squares = None
    for count, view in enumerate(views, start=1):
        result = _seen(program, x, view)
        chance = _chances(result, activation)
        if count == 1:
            outputs, mean, squares = result, chance, torch.zeros_like(chance)
            continue
        if averaged:
            outputs = outputs + result
        step = chance - mean
        mean = mean + step / count
        squares = squares + step * (chance - mean)  # Welford's update: no difference of large numbers
    if averaged:
        outputs = outputs / len(views)
    return torch.cat([outputs, (squares / len(views)).mean(dim=1, keepdim=True)], dim=1)


def _chances(outputs: Tensor, activation: Activation) -> Tensor:
    """Return probabilities."""
    match activation:
        case "sigmoid":
            return torch.sigmoid(outputs)
        case "softmax":
            return torch.softmax(outputs, dim=1)
    return outputs


def _seen(program: Callable[[Tensor], Tensor], x: Tensor, view: View) -> Tensor:
    """Return what a program makes of a view, float32, turned back."""
    turned = x.flip(view.flipped)
    if view.is_transposed:
        return program(turned.mT.contiguous()).float().mT.flip(view.flipped)
    return program(turned).float().flip(view.flipped)
