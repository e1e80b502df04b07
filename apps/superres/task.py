"""Training and evaluation of super-resolution networks."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from ...core.blocks.resampling import bicubic_resize
from ...core.cases import Case
from ...core.crops import detailed_crops
from ...core.metrics.super_resolution import super_resolution_scores
from ...core.task import Task
from ...core.weights.card import Card, colour_names

SMALLEST_SCORED = 11  # pixels inside the border, the side of the SSIM window


class SuperResolution(Task):
    """Learns to enlarge images by the mean absolute error; scores luma PSNR and SSIM, with bicubic beside it.

    Args:
        net: the network, (N, C, H, W) in 0..1 -> (N, C, sH, sW); it declares `scale` and `in_channels`.
        optimizer: makes the optimiser from the parameters.
        scheduler: makes the learning-rate schedule from the optimiser; it advances every step.
        border: pixels removed on every side before scoring; None means the scale, the usual convention.
        licence: licence of the trained weights, written to their card.
    """

    app = "superres"
    monitor = "val/psnr"
    units: ClassVar[dict[str, str]] = {"psnr": "dB"}
    picture_titles = ("low resolution", "bicubic", "network", "truth")
    exhibit_kind = "slider"
    exhibit_facts: ClassVar[dict[str, Any]] = {"before": "bicubic", "after": "network"}

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        border: int | None = None,
        licence: str = "",
    ) -> None:
        super().__init__(net, optimizer, scheduler, licence)
        self.border = net.scale if border is None else border

    def training_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean absolute error of the unclipped estimate."""
        low, high = batch
        return F.l1_loss(self.net(low).float(), high)

    def evaluate(self, batch: dict[str, Any]) -> tuple[Case, list[np.ndarray]]:
        """Score one image and bicubic beside it."""
        low, high = batch["low"], batch["high"][0]
        estimate = self.net(low).float()[0]
        bicubic = bicubic_resize(low[0], self.net.scale)
        case: Case = {"set": batch["set"][0], "name": batch["name"][0]}
        case |= self._scores(estimate, high)
        case |= {f"bicubic_{name}": value for name, value in self._scores(bicubic, high).items()}
        nearest = F.interpolate(low, scale_factor=float(self.net.scale), mode="nearest")[0]
        return case, detailed_crops([nearest, bicubic, estimate, high], high)

    def predict_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the enlarged image, (N, C, sH, sW), clamped to 0..1."""
        return self.net(batch["low"]).float().clamp(0, 1)

    def _scores(self, estimate: Tensor, truth: Tensor) -> dict[str, float]:
        """Score one image; one too small for a score has none, and does not stop the others."""
        if min(estimate.shape[1:]) < 2 * self.border + SMALLEST_SCORED:
            return {"psnr": math.nan, "ssim": math.nan}
        return super_resolution_scores(estimate, truth, self.border)

    def card(self) -> Card:
        """Return the weights card of the network as it stands."""
        scale = self.net.scale
        facts = self.card_facts(
            name=f"{type(self.net).__name__.lower()}-x{scale}",
            channels=colour_names(self.net.in_channels),
            scale=scale,
            tile=192,
            overlap=16,
        )
        return Card(**facts)
