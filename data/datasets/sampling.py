"""Samplers whose order follows from a seed alone, on any number of processes."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class TrainingSampler(Sampler[int]):
    """Yields sample numbers: `epoch * length` plus a permutation of `range(length)` that the seed and epoch fix.

    A dataset that derives every random draw from (seed, sample number) gives the same samples whether or not training
    was interrupted, and whatever the number of workers. Processes take every world-th number, so that one step of all
    processes together sees the batch that one process alone would.

    Args:
        length: samples of one epoch over all processes.
        seed: seed of the permutations.
        rank: this process, from 0.
        world: number of processes.
    """

    def __init__(self, length: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.length = length - length % world
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose samples come next; Lightning calls this before each."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Yield this process's sample numbers of the epoch."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator) + self.epoch * self.length
        yield from order[self.rank :: self.world].tolist()

    def __len__(self) -> int:
        """Return this process's number of samples per epoch."""
        return self.length // self.world


class CountingSampler(TrainingSampler):
    """Yields the same sample numbers in their order, for datasets that draw from a number what it shows."""

    def __iter__(self) -> Iterator[int]:
        """Yield this process's sample numbers of the epoch."""
        start = self.epoch * self.length
        yield from range(start + self.rank, start + self.length, self.world)


class ShareSampler(Sampler[int]):
    """Yields every world-th index once, without padding: no case is evaluated twice.

    Args:
        length: cases over all processes.
        rank: this process, from 0.
        world: number of processes.
    """

    def __init__(self, length: int, rank: int = 0, world: int = 1) -> None:
        self.indices = range(rank, length, world)

    def __iter__(self) -> Iterator[int]:
        """Yield this process's indices."""
        return iter(self.indices)

    def __len__(self) -> int:
        """Return this process's number of cases."""
        return len(self.indices)
