"""Training and evaluation of networks that learn from pairs what a display does to pictures."""

from __future__ import annotations

import math
from typing import Any, ClassVar
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from ...core.adversarial_task import AdversarialTask
from ...core.cases import Case
from ...core.crops import detailed_crops
from ...core.inference.arrays import ArraySink, ArraySource
from ...core.losses.adversarial import discriminator_loss, generator_loss
from ...core.metrics.under_display import under_display_scores
from ...core.weights.card import Card
from .discriminator import PixelDiscriminator
from .learnt_run import run_learnt
from .models.mpgnet import MPGNet


class Simulation(AdversarialTask):
    """Trains MPGNet against a discriminator (Zhou et al. 2022; the losses of the authors' code).

    Of each batch the discriminator learns a few times and the generator once, each time from pictures with new noise.
    The discriminator sees the clean picture beside the degraded one; its sides are multiples of 8 pixels. Schedules
    advance every epoch. A whole picture is scored by PSNR and SSIM of the simulated against the true degraded one, and
    by the noise of both; a noise-free simulation would have the best PSNR, so look at the two together.

    Args:
        net: the generator.
        optimizer: makes the generator's optimiser.
        discriminator_optimizer: makes the discriminator's optimiser.
        scheduler: makes the generator's learning-rate schedule.
        discriminator_scheduler: makes the discriminator's learning-rate schedule.
        discriminator_dim: channels of the discriminator at full resolution.
        discriminator_steps: how often the discriminator learns from each batch.
        pair_weight: weight of the mean absolute error beside the verdict.
        tile: side of a tile of whole pictures, in pixels.
        licence: licence of the trained weights, written to their card.
    """

    app = "udc"
    monitor = "val/psnr"
    units: ClassVar[dict[str, str]] = {"psnr": "dB"}
    picture_titles = ("clean", "simulated", "through the display")
    exhibit_kind = "slider"
    exhibit_facts: ClassVar[dict[str, Any]] = {"before": "simulated", "after": "through the display"}

    def __init__(
        self,
        net: MPGNet,
        optimizer: OptimizerCallable = torch.optim.Adam,
        discriminator_optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        discriminator_scheduler: LRSchedulerCallable | None = None,
        discriminator_dim: int = 64,
        discriminator_steps: int = 3,
        pair_weight: float = 10.0,
        tile: int = 256,
        licence: str = "",
    ) -> None:
        discriminator = PixelDiscriminator(dim=discriminator_dim)
        optimizers = (optimizer, discriminator_optimizer, scheduler, discriminator_scheduler)
        super().__init__(net, discriminator, *optimizers, licence)
        self.discriminator_steps = discriminator_steps
        self.pair_weight = pair_weight
        self.tile = tile

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Let the discriminator learn, then the generator."""
        generator, discriminator = self.optimizers()
        with self.toggled_optimizer(discriminator):
            for _ in range(self.discriminator_steps):
                self.judge(discriminator, self.discriminator_loss(batch), "train/discriminator")
        with self.toggled_optimizer(generator):
            self.learn(generator, self.training_loss(batch), "train/loss")

    def training_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the generator's loss on (degraded, clean): the verdict on its pictures and how far they are off."""
        degraded, clean = batch
        simulated = self.net(clean)
        pair = F.l1_loss(simulated.float(), degraded)
        self.log("train/pair", pair)
        return generator_loss(self.verdict(simulated, clean)) / 2 + self.pair_weight * pair

    def discriminator_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the discriminator's loss on (degraded, clean) and on a simulation."""
        degraded, clean = batch
        with torch.no_grad():
            simulated = self.net(clean)
        real = self.verdict(degraded, clean)
        return discriminator_loss(self.verdict(simulated, clean), real)

    def evaluate(self, batch: dict[str, Any]) -> tuple[Case, list[np.ndarray]]:
        """Score the simulation of one picture, and the clean picture beside it."""
        degraded, clean = batch["low"][0].cpu(), batch["high"][0].cpu()
        simulated = self._simulated(clean, batch["name"][0])
        case: Case = {"set": batch["set"][0], "name": batch["name"][0]}
        case |= under_display_scores(simulated, degraded)
        case |= {f"clean_{name}": value for name, value in under_display_scores(clean, degraded).items()}
        case |= {"noise": noise_level(simulated), "true_noise": noise_level(degraded)}
        return case, detailed_crops([clean, simulated, degraded], clean)

    def predict_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the simulated picture, (1, 3, H, W), clamped to 0..1."""
        return self._simulated(batch["high"][0].cpu(), batch["name"][0])[None]

    def card(self) -> Card:
        """Return the weights card of the generator as it stands."""
        return Card(**self.card_facts(name=f"mpgnet-{self.net.display}", tile=self.tile, overlap=self.tile // 4))

    def _simulated(self, clean: Tensor, name: str) -> Tensor:
        sink = ArraySink(clean.shape[1:])
        seed = (0, crc32(name.encode()))
        run_learnt(self.net, self.card(), ArraySource(clean.numpy()), sink, seed, device=str(self.device))
        return torch.from_numpy(sink.array).clamp(0, 1)


def noise_level(image: Tensor) -> float:
    """Return the deviation of the noise in a picture (C, H, W), H and W at least 3.

    Immerkær: "Fast Noise Variance Estimation", Computer Vision and Image Understanding 64(2), 1996: the mean absolute
    response to a difference of two Laplacians, which smooth surfaces and straight edges do not have.
    """
    kernel = image.new_tensor([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])[None, None]
    return math.sqrt(math.pi / 2) / 6 * F.conv2d(image[:, None], kernel).abs().mean().item()
