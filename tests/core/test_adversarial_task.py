from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from foveal.core.adversarial_task import AdversarialTask

Halved = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)


class Toy(AdversarialTask):
    """A generator of one weight, and a discriminator of another or none."""

    monitor = "val/loss"

    def __init__(self, discriminator=None, **options):
        rate = partial(torch.optim.SGD, lr=0.1)
        super().__init__(nn.Linear(1, 1), discriminator, rate, partial(rate, lr=0.2), **options)
        self.manual_backward = lambda loss: loss.backward()
        self.logged = {}

    def training_loss(self, batch):
        return self.net(batch).square().sum()

    def evaluate(self, batch):
        raise NotImplementedError

    def card(self):
        raise NotImplementedError

    def log(self, name, value, **_):
        self.logged[name] = value.item()


@pytest.mark.parametrize("discriminator", [None, nn.Linear(2, 1)])
def test_each_network_has_its_optimiser_and_its_schedule(discriminator):
    task = Toy(discriminator, scheduler=Halved, discriminator_scheduler=Halved)
    optimizers, schedulers = task.configure_optimizers()
    modules = [each for each in (task.net, discriminator) if each is not None]
    assert [each.param_groups[0]["params"] for each in optimizers] == [list(each.parameters()) for each in modules]
    assert [each.param_groups[0]["lr"] for each in optimizers] == [0.1, 0.2][: len(modules)]
    assert [each.optimizer for each in schedulers] == optimizers


def test_schedules_are_optional():
    assert Toy(nn.Linear(2, 1), discriminator_scheduler=Halved).configure_optimizers()[1][0].gamma == 0.5
    assert Toy().configure_optimizers()[1] == []


@pytest.mark.parametrize("several", [True, False])
def test_schedules_advance_every_epoch_alone_or_together(several):
    task = Toy(scheduler=Halved)
    (optimizer,), schedulers = task.configure_optimizers()
    optimizer.step()
    task.lr_schedulers = lambda: schedulers if several else schedulers[0]
    task.on_train_epoch_end()
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_a_step_goes_down_the_loss_and_is_logged():
    task = Toy()
    optimizer = task.configure_optimizers()[0][0]
    before = task.training_loss(torch.ones(1, 1))
    task.learn(optimizer, before, "train/loss")
    assert task.logged == {"train/loss": before.item()}
    assert task.training_loss(torch.ones(1, 1)) < before


class Both(Toy):
    """Lets the discriminator make two steps for each of the generator."""

    def training_step(self, batch, index):
        generator, discriminator = self.optimizers()
        for _ in range(2):
            self.judge(discriminator, self.discriminator(batch).square().sum(), "train/discriminator")
        self.learn(generator, self.training_loss(batch), "train/loss")


def test_the_steps_of_a_training_are_those_of_the_generator(tmp_path):
    made = Both(nn.Linear(1, 1))
    del made.manual_backward
    trainer = Trainer(
        max_steps=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    before = [each.clone() for each in made.discriminator.parameters()]
    trainer.fit(made, torch.utils.data.DataLoader(torch.ones(8, 1)))
    assert trainer.global_step == trainer.fit_loop.total_batch_idx + 1 == 3
    assert all(not torch.equal(*each) for each in zip(before, made.discriminator.parameters(), strict=True))
