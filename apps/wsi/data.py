"""Bags of features with one class each, for training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...core.errors import UserError
from ...data.datasets.bag import Bag, BagSource
from ...data.datasets.patient_split import Labelled, place_of
from ...data.datasets.sampling import TrainingSampler
from ...data.every_case import every_case
from ...data.labelled_data import LabelledData, Parts
from .feature_facts import FACTS, alike, unfinite


class Bags(Dataset[dict[str, Any]]):
    """Bags of one or several named sets, as float32.

    Args:
        sets: {set name: bags}.
        classes: names of the classes; a bag's class is its label's place among them.
    """

    def __init__(self, sets: dict[str, list[Bag]], classes: Sequence[str]) -> None:
        self.cases = [(name, bag) for name, bags in sets.items() for bag in bags]
        self.classes = classes

    def __len__(self) -> int:
        """Return the number of bags in all sets."""
        return len(self.cases)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Return {"set", "name", "patient", "features", "label", "number"} of a bag, which is its own place in `cases`.

        Features are float32, (N, D). Numbers beyond the last begin again.
        """
        number %= len(self)
        name, bag = self.cases[number]
        facts = {"set": name, "name": bag.name, "patient": bag.person, "label": self.classes.index(bag.label)}
        facts["number"] = number
        return facts | {"features": torch.from_numpy(bag.read().values.astype(np.float32))}


class BagData(LabelledData):
    """Bags of features, one in a batch. Network and data must have the same classes and channels.

    All bags are read once before training, and what cannot be used is told then.

    Args:
        train: training bags.
        validation: bags scored after every epoch; None takes a share, or a fold, of the training patients.
        test: {name of the set: bags} scored by `test`; None takes `test_share`, or the validation bags without it.
        shots: train on so many bags of each class, drawn at random by `split_seed`; None takes all.
        **kwargs: see `LabelledData`.
    """

    noun = "bag"
    collate = None

    def __init__(
        self,
        train: list[BagSource],
        validation: list[BagSource] | None = None,
        test: dict[str, BagSource] | None = None,
        shots: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(train, validation, test, **kwargs)
        if shots is not None and shots < 1:
            raise UserError(f"data.shots {shots}: give a number of bags of each class from 1, or leave it out.")
        self.shots = shots
        self.facts: dict[str, Any] = {}  # of the features: encoder, mpp and what else their files tell

    def listed(self, source: BagSource) -> list[Bag]:
        """Return the bags of a source."""
        return source.bags()

    def owner(self, member: Labelled) -> str:
        """Return the patient, or the slide itself, which must not be in two parts either."""
        return member.person

    def open_parts(self, sets: Sequence[str]) -> None:
        """Read and check every bag."""
        bags = [bag for members in self.used.values() for bag in members]
        found = every_case(range(len(bags)), lambda number: self._checked(bags[number]), self.workers, "bags")
        self.facts = _common(bags, found)
        self.evaluation = Bags({name: self.used[name] for name in sets}, self.classes)
        if "train" in self.used:
            self.training = Bags({"train": self.used["train"]}, self.classes)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of every feature over all training instances, (D,) float32.

        The deviation of a feature that does not vary is 1.
        """
        count, total, square = 0, 0.0, 0.0
        for bag in self.used["train"]:
            values = bag.read().values.astype(np.float64)
            count, total, square = count + len(values), total + values.sum(0), square + np.square(values).sum(0)
        mean = total / count
        deviation = np.sqrt(np.maximum(square / count - mean**2, 0))
        deviation[deviation < 1e-6 * np.maximum(np.abs(mean), 1)] = 1
        return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()

    def sampler(self, rank: int, world: int) -> TrainingSampler:
        """Return the order of the bags."""
        return TrainingSampler(len(self.training), self.seed, rank, world)

    @property
    def batch_size(self) -> int:
        """Bags of one step: one on each process."""
        return self.trainer.world_size

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data in use, with what the files tell of the features."""
        return super().fingerprint() | {"features": self.facts}

    def _parts(self) -> Parts:
        parts = super()._parts()
        if self.shots is not None:
            parts["train"] = _few(parts["train"], self.shots, self.split_seed)
        return parts

    def _checked(self, bag: Bag) -> dict[str, Any]:
        """Return what the file of a bag tells of its features; raises UserError where they cannot be used."""
        found = bag.read()
        where = f"{bag.path}: {bag.name}"
        expected = getattr(self.net, "in_channels", found.values.shape[1])
        if found.values.shape[1] != expected:
            raise UserError(
                f"{where} has features of {found.values.shape[1]} channels, but the network takes {expected}; all must "
                "be of one encoder. Set model.net.in_channels, or make the features again."
            )
        if (problem := unfinite(found.values)) is not None:
            raise UserError(f"{where} {problem}.")
        return {name: found.facts[name] for name in FACTS if name in found.facts}

    def evaluation_loader(self) -> DataLoader:
        """Return the bags one by one."""
        return super().evaluation_loader(workers=self.workers)


def _common(bags: Sequence[Bag], facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what all bags tell of their features; refuse bags that differ in it."""
    for bag, found in zip(bags, facts, strict=True):
        for name in FACTS:
            if not alike(found.get(name), facts[0].get(name)):
                raise UserError(
                    f"{bag.path}: {bag.name} has features of {name} {found.get(name)!r}, but {bags[0].name} of "
                    f"{facts[0].get(name)!r}; all must be made alike."
                )
    return dict(facts[0])


def _few(bags: Sequence[Bag], shots: int, seed: int) -> list[Bag]:
    """Return so many bags of each class, by chance; raises UserError where a class has fewer."""
    kept = []
    for label in sorted({bag.label for bag in bags}):
        members = sorted((bag for bag in bags if bag.label == label), key=lambda bag: place_of(f"{seed}/{bag.name}"))
        if len(members) < shots:
            raise UserError(f"data.shots {shots}: only {len(members)} training bags are of the class {label!r}.")
        kept += members[:shots]
    return kept
