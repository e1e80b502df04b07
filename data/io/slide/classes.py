"""What the outputs of a program mean on a slide: their kind, and the classes that are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ....core.weights.card import RGB, Card

Kind = Literal["labels", "probabilities", "picture", "values"]
COLOURS = ((230, 25, 75), (0, 114, 178), (240, 180, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0))


@dataclass(frozen=True)
class SlideClass:
    """One class of an output.

    Attributes:
        channel: of the output.
        value: its samples in a label map; 0 where the channel holds probabilities.
        name: what people call it.
        colour: red, green and blue, each 0..255.
    """

    channel: int
    value: int
    name: str
    colour: tuple[int, int, int]


def kind_of(card: Card) -> Kind:
    """Tell what the samples of an output are; a picture is red, green and blue in the value range of the card."""
    if card.makes_labels:
        return "labels"
    if card.activation in ("sigmoid", "softmax"):
        return "probabilities"
    return "picture" if channels_of(card) == RGB else "values"


def channels_of(card: Card) -> tuple[str, ...]:
    """Return the names of the output's channels."""
    if card.activation == "argmax":
        return ("label",)
    return card.outputs or card.channels


def classes_of(card: Card) -> list[SlideClass]:
    """Return the classes of labels or probabilities, without the background.

    Value v of a label map of exclusive classes is channel v of the program, 0 the background; where classes are
    independent (sigmoid, threshold) channel c has the label c + 1.
    """
    names, labels = card.outputs or card.channels, {label.value: label for label in card.labels}
    is_exclusive = card.activation in ("argmax", "softmax") and len(names) > 1
    classes = []
    for value in range(1, len(names) + (not is_exclusive)):
        label = labels.get(value)
        channel = value - (not is_exclusive)
        name, colour = (label.name, label.colour) if label else (names[channel], COLOURS[(value - 1) % len(COLOURS)])
        of_map = {"argmax": value, "threshold": 1}.get(card.activation, 0)
        classes.append(SlideClass(0 if card.activation == "argmax" else channel, of_map, name, tuple(colour)))
    return classes
