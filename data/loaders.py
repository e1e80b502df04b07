"""The base of data modules: batches of training samples and cases of evaluation, shared by all processes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
from torch import nn
from torch.utils.data import DataLoader

from ..core.errors import UserError
from .datasets.cache import PixelCache, user_cache
from .datasets.sampling import ShareSampler, TrainingSampler

FIRST: Callable[[list[Any]], Any] = itemgetter(0)


class LoadedData(L.LightningDataModule):
    """Loads what a subclass sets up: in `setup` it sets `training`, for a training, and `evaluation`.

    Args:
        workers: loading processes.
        seed: seed of the order and of other draws.

    Attributes:
        batch_size: samples of one step over all processes.
        training: dataset of the training samples.
        evaluation: dataset of the cases, which are given one by one.
        collate: makes a batch of a list of one case; None for PyTorch's own way.
    """

    batch_size: int
    training: Any
    evaluation: Any
    collate: ClassVar[Callable[[list[Any]], Any] | None] = FIRST

    def __init__(self, workers: int = 2, seed: int = 0) -> None:
        super().__init__()
        self.workers = workers
        self.seed = seed

    @abstractmethod
    def sampler(self, rank: int, world: int) -> TrainingSampler:
        """Return the order of the training samples on one of `world` processes."""

    def train_dataloader(self) -> DataLoader:
        """Return batches of training samples."""
        world = self.trainer.world_size
        sampler = self.sampler(self.trainer.global_rank, world)
        sampler.set_epoch(self.trainer.current_epoch)  # a resumed run loads its first batches before Lightning does
        return DataLoader(
            self.training,
            batch_size=self.batch_size // world,
            sampler=sampler,
            num_workers=self.workers,
            drop_last=True,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader:
        """Return the cases one by one."""
        return self.evaluation_loader()

    def test_dataloader(self) -> DataLoader:
        """Return the cases one by one."""
        return self.evaluation_loader()

    def predict_dataloader(self) -> DataLoader:
        """Return the cases one by one."""
        return self.evaluation_loader()

    def evaluation_loader(self, batch_size: int = 1, workers: int = 0) -> DataLoader:
        """Return the cases one by one or in batches, each on one process."""
        sampler = ShareSampler(len(self.evaluation), self.trainer.global_rank, self.trainer.world_size)
        options = {"batch_size": batch_size, "num_workers": workers, "collate_fn": self.collate}
        return DataLoader(self.evaluation, sampler=sampler, **options)

    def check_batch_size(self) -> None:
        """Refuse a batch that the processes cannot share evenly.

        Raises:
            UserError: it is no multiple of their number.
        """
        world = self.trainer.world_size
        if self.batch_size % world:
            raise UserError(f"data.batch_size {self.batch_size} must be a multiple of the {world} processes.")

    def check_epoch(self, length: int, noun: str) -> None:
        """Refuse epochs that do not fill a batch.

        Args:
            length: samples of one epoch.
            noun: what they are.

        Raises:
            UserError: they are fewer.
        """
        if length < self.batch_size:
            more = ", or raise data.repeats" if hasattr(self, "repeats") else ""
            raise UserError(
                f"one epoch has {length} {noun}, fewer than data.batch_size {self.batch_size}; make that smaller{more}."
            )

    @property
    def net(self) -> nn.Module:
        """The network that is trained."""
        return self.trainer.lightning_module.net


class SourceData(LoadedData):
    """Loads images of some sources, which give samples several times in an epoch, and scores others set by set.

    A subclass says in `cache_name` where decoded images are kept in the user's cache folder.

    Args:
        train: sources of the training.
        validation: sources scored after every epoch.
        test: {name of the set: source} scored by `test`; empty means the validation sources.
        batch_size: samples of one step over all processes.
        repeats: how often every image gives a sample in one epoch.
        workers: loading processes.
        seed: seed of the order, the crops and the augmentation.
        cache: folder for decoded images; None means the user's cache folder.
    """

    cache_name: ClassVar[str]

    def __init__(
        self,
        train: list[Any],
        validation: list[Any],
        test: dict[str, Any] | None,
        batch_size: int,
        repeats: int = 1,
        workers: int = 2,
        seed: int = 0,
        cache: Path | None = None,
    ) -> None:
        super().__init__(workers, seed)
        self.train_sources = train
        self.validation_sources = {"validation": validation}
        self.test_sources = {name: [source] for name, source in (test or {}).items()} or self.validation_sources
        self.batch_size = batch_size
        self.repeats = repeats
        self.cache = PixelCache(Path(cache or user_cache() / self.cache_name))

    def sources(self, stage: str) -> dict[str, list[Any]]:
        """Return the sources that a stage reads: those of "train", for a training, and of each set that it scores."""
        scored = self.validation_sources if stage in ("fit", "validate") else self.test_sources
        return ({"train": self.train_sources} if stage == "fit" else {}) | scored

    def sampler(self, rank: int, world: int) -> TrainingSampler:
        """Return the order of the samples."""
        return TrainingSampler(self.images * self.repeats, self.seed, rank, world)

    @property
    @abstractmethod
    def images(self) -> int:
        """Number of the training images."""


def shared_with_training(members: Mapping[str, Iterable[Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the name of each part but "train" that has something in common with it, and what that is, sorted."""
    trained = {*members.get("train", ())}
    for name, each in members.items():
        if name != "train" and (shared := trained & {*each}):
            yield name, sorted(shared)


def licences_of(*sources: Iterable[Any]) -> list[str]:
    """Return the terms of sources, each once."""
    return sorted({each.licence for group in sources for each in group if each.licence})


def digest_of(names: Iterable[str]) -> str:
    """Return what other names do not have, without telling them."""
    return sha256("\n".join(names).encode()).hexdigest()
