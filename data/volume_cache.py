"""What is made of labelled volumes, kept on disk: their facts, and arrays as networks take them, memory-mapped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache as once
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core.errors import UserError
from ..core.weights.card import Card
from .datasets.cache import PixelCache, identity, recipe_of
from .datasets.volume_case import VolumeCase
from .volume_channels import open_labels, open_volume
from .volume_checks import VolumeFacts, check_volume
from .volume_run import prepared_labels, prepared_volume

PLACES = 10_000
"""Voxels of each class whose places are kept, of which training centres patches on some."""
PREPARING = ("spacing", "orientation", "intensity", "value_range", "mean", "std")
"""What of a card decides how a volume is prepared."""
FACTS = [each.name for each in fields(VolumeFacts)]


class PreparedVolume(NamedTuple):
    """A case as a network takes it.

    Attributes:
        image: float32 (C, D, H, W).
        labels: uint8 (D, H, W).
        places: where objects are, int32 (n, 4): class, and voxel along D, H and W, sorted by class.
    """

    image: np.ndarray
    labels: np.ndarray
    places: np.ndarray


class VolumeCache:
    """Reads each file once for its facts and once for its arrays; a changed file is read anew.

    Args:
        folder: where the files live; made when first needed.
        channels: of the network.
        classes: of the network, the background included.
        relabel: what some label values become.
    """

    def __init__(self, folder: Path, channels: int, classes: int, relabel: Mapping[int, int]) -> None:
        self.arrays = PixelCache(folder)
        self.channels = channels
        self.classes = classes
        self.relabel = dict(relabel)

    def facts(self, case: VolumeCase) -> VolumeFacts:
        """Return what is known of a case; everything about its files is checked first.

        Raises:
            UserError: a file is missing or cannot be used; see `check_volume`.
        """
        checked = once(lambda: check_volume(case, self.channels, self.classes, self.relabel))
        key = (*_identities(case.images, case.label), self.channels, self.classes, self.relabel, FACTS)
        path, recipe = case.images[0], recipe_of(*key)
        samples = self.arrays.get(path, f"samples-{recipe}", lambda: checked().samples)
        text = self.arrays.get(path, f"facts-{recipe}", lambda: _written(checked()))
        values = json.loads(bytes(text)).items()
        tuples = {name: tuple(each) if isinstance(each, list) else each for name, each in values}
        return VolumeFacts(**tuples, samples=samples)

    def prepared(self, case: VolumeCase, card: Card) -> PreparedVolume:
        """Return a case in the grid, axes and values of a card.

        Args:
            case: that `facts` has accepted.
            card: of the network.
        """
        wanted = [getattr(card, name) for name in PREPARING]
        image, label = case.images[0], case.label
        labels_recipe = recipe_of(*wanted[:2], self.relabel)
        labels = self.arrays.get(label, f"labels-{labels_recipe}", lambda: self._labels(case, card))
        return PreparedVolume(
            self.arrays.get(
                image, f"image-{recipe_of(*_identities(case.images), *wanted)}", lambda: _image(case, card)
            ),
            labels,
            self.arrays.get(label, f"places-{labels_recipe}", lambda: places_of(labels)),
        )

    def _labels(self, case: VolumeCase, card: Card) -> np.ndarray:
        with open_labels(case.label, self.relabel) as source:
            return prepared_labels(source, card)


def places_of(labels: np.ndarray) -> np.ndarray:
    """Return where objects are, int32 (n, 4), as `PreparedVolume` has it; of large ones some voxels drawn at random."""
    labels = np.asarray(labels)
    found = []
    for number in np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1:
        voxels = np.flatnonzero(labels == number)
        if len(voxels) > PLACES:
            voxels = np.random.default_rng(int(number)).choice(voxels, PLACES, replace=False)
        found.append(np.stack([np.full_like(voxels, number), *np.unravel_index(voxels, labels.shape)], axis=1))
    return np.concatenate([np.empty((0, 4)), *found]).astype(np.int32)


def _image(case: VolumeCase, card: Card) -> np.ndarray:
    with open_volume(case.images) as source:
        return prepared_volume(source, card)


def _identities(images: tuple[Path, ...], *others: Path) -> list[str]:
    paths = [*images, *others]
    if missing := next((each for each in paths if not each.exists()), None):
        raise UserError(f"{missing}: there is no such file.")
    return [identity(each) for each in paths]


def _written(facts: VolumeFacts) -> np.ndarray:
    """Return the facts but for the samples as bytes of JSON."""
    values = {name: each for name, each in asdict(facts).items() if name != "samples"}
    return np.frombuffer(json.dumps(values).encode(), np.uint8)
