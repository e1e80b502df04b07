"""The base of the tasks that train a generator against a discriminator."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from .task import Task


class AdversarialTask(Task):
    """A generator, `net`, and a discriminator, each with its own optimiser; their schedules advance every epoch.

    A subclass says in `training_step` when each of the two learns, by `learn` and `judge`. Steps are those of the
    generator alone: in what is told of a training, in `max_steps`, and on the card.

    Args:
        net: the generator.
        discriminator: judges what the generator makes; None trains without one.
        optimizer: makes the generator's optimiser.
        discriminator_optimizer: makes the discriminator's optimiser.
        scheduler: makes the generator's learning-rate schedule.
        discriminator_scheduler: makes the discriminator's learning-rate schedule.
        licence: licence of the trained weights, written to their card.
    """

    def __init__(
        self,
        net: nn.Module,
        discriminator: nn.Module | None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        discriminator_optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        discriminator_scheduler: LRSchedulerCallable | None = None,
        licence: str = "",
    ) -> None:
        super().__init__(net, optimizer, scheduler, licence)
        self.automatic_optimization = False
        self.discriminator = discriminator
        self.make_discriminator_optimizer = discriminator_optimizer
        self.make_discriminator_scheduler = discriminator_scheduler

    def verdict(self, *images: Tensor) -> Tensor:
        """Return what the discriminator thinks of images that it sees beside one another, float32."""
        return self.discriminator(torch.cat(images, dim=1)).float()

    def learn(self, optimizer: Any, loss: Tensor, name: str) -> None:
        """Let the generator's optimiser make a step down a loss, which is logged by this name."""
        self._prepare(optimizer, loss, name)
        optimizer.step()

    def judge(self, optimizer: Any, loss: Tensor, name: str) -> None:
        """Let the discriminator's optimiser make a step down a loss, which is logged by this name."""
        self._prepare(optimizer, loss, name)
        # Lightning counts the steps of its own optimisers, which this one shall not be among.
        self.trainer.strategy.optimizer_step(optimizer.optimizer, lambda: None)

    def on_train_epoch_end(self) -> None:
        """Advance the schedules."""
        schedulers = self.lr_schedulers() or ()
        for scheduler in schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]:
            scheduler.step()

    def configure_optimizers(self) -> Any:
        """Return the optimisers, the generator's first, with their schedules where there are any."""
        generator = self.make_optimizer(self.net.parameters())
        made = [(self.make_scheduler, generator)]
        if self.discriminator is not None:
            discriminator = self.make_discriminator_optimizer(self.discriminator.parameters())
            made.append((self.make_discriminator_scheduler, discriminator))
        return [optimizer for _, optimizer in made], [make(optimizer) for make, optimizer in made if make]

    def _prepare(self, optimizer: Any, loss: Tensor, name: str) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.log(name, loss.detach(), prog_bar=True)
