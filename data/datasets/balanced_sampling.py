"""The order in which training sees images that hold several classes each; it follows from a seed alone."""

from collections.abc import Iterator, Sequence

import numpy as np

from .sampling import TrainingSampler


class BalancedSampler(TrainingSampler):
    """Draws a class, all equally often, and then one of the images that hold it.

    Yields sample numbers, of which `number % images` is the image and no two are the same in a whole training.
    Processes take every world-th number, so that one step of all together sees the batch that one alone would.

    Args:
        members: for each class the images that hold it, not empty.
        images: number of all images.
        length: samples of one epoch over all processes.
        seed: seed of the draws.
        rank: this process, from 0.
        world: number of processes.
    """

    def __init__(
        self, members: Sequence[np.ndarray], images: int, length: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        super().__init__(length, seed, rank, world)
        self.members = list(members)
        self.images = images

    def __iter__(self) -> Iterator[int]:
        """Yield this process's sample numbers of the epoch."""
        generator = np.random.default_rng([self.seed, self.epoch])
        classes = generator.integers(len(self.members), size=self.length)
        places = generator.random(self.length)
        for turn in range(self.rank, self.length, self.world):
            holders = self.members[classes[turn]]
            image = int(holders[int(places[turn] * len(holders))])
            yield (self.epoch * self.length + turn) * self.images + image
