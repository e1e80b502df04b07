"""Batch norms that stop following the batches during a part of the training."""

from __future__ import annotations

from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.modules.batchnorm import _BatchNorm


class FrozenBatchNorm(Callback):
    """Puts the batch norms into evaluation for a part of the training's steps; their weights go on learning.

    The norms of a network trained on patches follow each batch, and at the end a picture meets statistics that no
    step has seen in use. Freezing them for the last steps lets the other layers settle to what inference will do
    (DWFormer: the option `frozen_bn: 20` of 300 epochs). The authors' code does the opposite: it freezes all but the
    last 20 epochs, so that the norms are mere scales and shifts for most of the training; that is "begin" with 279/300.

    Args:
        share: of the steps, in 0..1.
        part: which part of the training is frozen.
    """

    def __init__(self, share: float = 20 / 300, part: Literal["begin", "end"] = "end") -> None:
        self.share = share
        self.part = part

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Freeze or free the norms of every step anew, so that a resumed training goes on the same way."""
        total = trainer.estimated_stepping_batches
        frozen = round(self.share * total)
        is_frozen = trainer.global_step < frozen if self.part == "begin" else trainer.global_step >= total - frozen
        for module in pl_module.modules():
            if isinstance(module, _BatchNorm):
                module.train(not is_frozen)
