"""Drawing the outlines of labels onto a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .weights.card import Card
from .weights.label import Label

COLOURS = (
    (230, 57, 70), (42, 157, 143), (244, 162, 97), (69, 123, 157), (233, 196, 106), (155, 93, 229),
    (0, 180, 216), (255, 112, 166), (112, 193, 51), (188, 108, 37), (120, 144, 255), (255, 241, 0),
    (178, 34, 120), (128, 255, 219), (255, 127, 80), (190, 190, 255),
)  # fmt: skip
SIDE_PER_WIDTH = 300  # pixels of a picture's shorter side for each pixel of an outline


def outlined(image: np.ndarray, labels: np.ndarray, classes: Sequence[Label]) -> np.ndarray:
    """Return a picture with the outline of each label in its colour, drawn inside the label.

    Args:
        image: uint8 (H, W, 3); it stays as it is.
        labels: class numbers (H, W).
        classes: the labels that are drawn.
    """
    from skimage.morphology import erosion

    picture = image.copy()
    width = 1 + min(labels.shape) // SIDE_PER_WIDTH
    for each in classes:
        region = labels == each.value
        inside = np.pad(region, width, mode="edge")
        for _ in range(width):
            inside = erosion(inside)
        picture[region & ~inside[width:-width, width:-width]] = each.colour
    return picture


def numbered(names: Sequence[str]) -> tuple[Label, ...]:
    """Return labels of classes, numbered from 1 in their order, each with a colour."""
    return tuple(
        Label(value=value, name=name, colour=COLOURS[(value - 1) % len(COLOURS)])
        for value, name in enumerate(names, start=1)
    )


def labels_of(card: Card) -> list[Label]:
    """Return the labels of a card that gives label maps, those that it does not name by its outputs, in their order.

    Exclusive classes have the number of their channel, 0 being the background; independent ones one more.
    """
    named = {label.value: label for label in card.labels}
    names = card.outputs or card.channels
    first = 1 if card.activation == "argmax" else 0
    found = {label.value: label for label in numbered(names[first:])}
    return [label for _, label in sorted((found | named).items())]


def outlined_classes(image: np.ndarray, maps: np.ndarray, card: Card) -> np.ndarray:
    """Return a picture with the outlines of what a card's program found.

    Args:
        image: uint8 (H, W, 3); it stays as it is.
        maps: label numbers (1, H, W) of exclusive classes; 0 and 1 of each independent one, (C, H, W).
        card: of the program.
    """
    labels = labels_of(card)
    if card.activation == "argmax":
        return outlined(image, maps[0], labels)
    for channel, each in enumerate(maps, start=1):
        image = outlined(image, each * np.uint16(channel), [label for label in labels if label.value == channel])
    return image
