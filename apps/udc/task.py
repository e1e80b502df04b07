"""Training and evaluation of networks that restore pictures taken through a display."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from ...core.cases import Case
from ...core.crops import detailed_crops
from ...core.inference.engine import Engine
from ...core.metrics.perceptual import PerceptualDistance
from ...core.metrics.under_display import under_display_scores
from ...core.task import Task
from ...core.weights.card import Card, colour_names


class Restoration(Task):
    """Learns to restore pictures by the mean absolute error; scores PSNR and SSIM, those of the input beside them.

    Evaluates through the engine, as `infer` computes.

    Args:
        net: the network, (N, C, H, W) in 0..1 -> the same; it declares `in_channels`, `size_multiple`,
            `smallest_size` and `scale`, which is 1.
        optimizer: makes the optimiser from the parameters.
        scheduler: makes the learning-rate schedule from the optimiser; it advances every step.
        tile: side of a tile in pixels; smaller pictures are computed whole. Twice the side of the training patches
            restored better than whole pictures (docs/apps/udc.md).
        overlap: pixels that neighbouring tiles share.
        lpips: score the distance LPIPS too, whose network is downloaded once.
        licence: licence of the trained weights, written to their card.
    """

    app = "udc"
    monitor = "val/psnr"
    units: ClassVar[dict[str, str]] = {"psnr": "dB"}
    picture_titles = ("through the display", "network", "truth")
    exhibit_kind = "slider"
    exhibit_facts: ClassVar[dict[str, Any]] = {"before": "through the display", "after": "network"}

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        tile: int = 128,
        overlap: int = 32,
        lpips: bool = False,
        licence: str = "",
    ) -> None:
        super().__init__(net, optimizer, scheduler, licence)
        self.tile = tile
        self.overlap = overlap
        self.distance = PerceptualDistance() if lpips else None

    def training_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean absolute error of the unclipped estimate."""
        degraded, clean = batch
        return F.l1_loss(self.net(degraded).float(), clean)

    def evaluate(self, batch: dict[str, Any]) -> tuple[Case, list[np.ndarray]]:
        """Score one picture, and what the camera took beside it."""
        degraded, clean = batch["low"][0].cpu(), batch["high"][0].cpu()
        estimate = self._restored(degraded)
        case: Case = {"set": batch["set"][0], "name": batch["name"][0]}
        case |= self._scores(estimate, clean)
        case |= {f"input_{name}": value for name, value in self._scores(degraded, clean).items()}
        return case, detailed_crops([degraded, estimate, clean], clean)

    def predict_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the restored picture, (1, C, H, W), clamped to 0..1."""
        return self._restored(batch["low"][0].cpu())[None].clamp(0, 1)

    def card(self) -> Card:
        """Return the weights card of the network as it stands."""
        channels = colour_names(self.net.in_channels)
        return Card(**self.card_facts(channels=channels, tile=self.tile, overlap=self.overlap))

    def _restored(self, degraded: Tensor) -> Tensor:
        return torch.from_numpy(Engine(self.net, self.card(), self.device).array(degraded.numpy()))

    def _scores(self, estimate: Tensor, truth: Tensor) -> dict[str, float]:
        scores = under_display_scores(estimate, truth)
        return scores | ({"lpips": self.distance(estimate, truth)} if self.distance else {})
