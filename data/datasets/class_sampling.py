"""The order in which training sees images of unequally frequent classes; it follows from a seed alone."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from .sampling import TrainingSampler

Sampling = Literal["natural", "balanced", "rebalanced"]


class ClassSampler(TrainingSampler):
    """Yields sample numbers, of which `number % images` is the image and no two are the same in a whole training.

    "natural" takes every image once an epoch. "balanced" draws, as often as there are images, a class and then one of
    its images. "rebalanced" walks once through the largest class and replaces an equal share of every batch by images
    of each other class drawn at random, as COVID-Net's loader does with two classes. Processes take every world-th
    number, so that one step of all together sees the batch that one process alone would.

    Args:
        labels: class of each image.
        sampling: the order.
        batch_size: images of one step over all processes; only whole batches are given.
        seed: seed of the draws.
        rank: this process, from 0.
        world: number of processes.
    """

    def __init__(
        self, labels: Sequence[int], sampling: Sampling, batch_size: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.labels = np.array(labels)
        self.classes = [np.flatnonzero(self.labels == each) for each in np.unique(self.labels)]
        images = max(map(len, self.classes)) if sampling == "rebalanced" else len(self.labels)
        super().__init__(images // batch_size * batch_size, seed, rank, world)
        self.sampling = sampling
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[int]:
        """Yield this process's sample numbers of the epoch."""
        generator = np.random.default_rng([self.seed, self.epoch])
        images = getattr(self, f"_{self.sampling}")(generator)[: self.length]
        draws = self.epoch * self.length + np.arange(self.length)
        numbers = [int(draw) * len(self.labels) + int(image) for draw, image in zip(draws, images, strict=True)]
        yield from numbers[self.rank :: self.world]

    def _natural(self, generator: np.random.Generator) -> np.ndarray:
        return generator.permutation(len(self.labels))

    def _balanced(self, generator: np.random.Generator) -> np.ndarray:
        drawn = generator.integers(len(self.classes), size=self.length)
        return np.array([generator.choice(self.classes[each]) for each in drawn])

    def _rebalanced(self, generator: np.random.Generator) -> np.ndarray:
        largest = max(range(len(self.classes)), key=lambda each: len(self.classes[each]))
        others = [members for each, members in enumerate(self.classes) if each != largest]
        walk = generator.permutation(self.classes[largest])[: self.length]
        replaced = self.batch_size * len(others) // len(self.classes)
        for start in range(0, self.length, self.batch_size):
            for turn, place in enumerate(generator.permutation(self.batch_size)[:replaced]):
                walk[start + place] = generator.choice(others[turn % len(others)])
        return walk
