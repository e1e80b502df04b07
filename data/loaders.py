"""The base of data modules: batches of training samples and cases of evaluation, shared by all processes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from operator import itemgetter
from typing import Any, ClassVar

import lightning as L
from torch import nn
from torch.utils.data import DataLoader

from ..core.errors import UserError
from .datasets.sampling import ShareSampler, TrainingSampler

FIRST: Callable[[list[Any]], Any] = itemgetter(0)


class LoadedData(L.LightningDataModule):
    """Loads what a subclass sets up: in `setup` it sets `training`, for a training, and `evaluation`.

    Attributes:
        batch_size: samples of one step over all processes.
        workers: loading processes of the training.
        training: dataset of the training samples.
        evaluation: dataset of the cases, which are given one by one.
        collate: makes a batch of a list of one case; None for PyTorch's own way.
    """

    batch_size: int
    workers: int
    training: Any
    evaluation: Any
    collate: ClassVar[Callable[[list[Any]], Any] | None] = FIRST

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

    def evaluation_loader(self) -> DataLoader:
        """Return the cases one by one, each on one process."""
        sampler = ShareSampler(len(self.evaluation), self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(self.evaluation, batch_size=1, sampler=sampler, collate_fn=self.collate)

    def check_batch_size(self) -> None:
        """Refuse a batch that the processes cannot share evenly.

        Raises:
            UserError: it is no multiple of their number.
        """
        world = self.trainer.world_size
        if self.batch_size % world:
            raise UserError(f"data.batch_size {self.batch_size} must be a multiple of the {world} processes.")

    @property
    def net(self) -> nn.Module:
        """The network that is trained."""
        return self.trainer.lightning_module.net
