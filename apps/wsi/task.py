"""Training and evaluation of networks that classify bags."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from ...core.attention.mil import slide_attention
from ...core.attention_concentration import concentration_of, draw_concentration
from ...core.cases import Case, gathered, write_cases
from ...core.classification import Classifier
from ...core.losses.branch_attention import BranchAttentionLoss
from ...core.report.showcase import Exhibit
from ...core.weights.card import Card
from .exhibit import bag_exhibit


class BagClassification(Classifier):
    """Learns the class of bags; scores AUC, F1, calibration, and how concentrated the attention is.

    The loss of a network with attention is ACMIL's, of any other the cross-entropy.

    Args:
        net: the network, a bag (1, N, D) -> logits (1, classes); it declares `num_classes` and `in_channels`. One with
            attention gives `BagOutputs` in training, and by `outputs(bag)` at any time.
        optimizer: makes the optimiser from the parameters.
        scheduler: makes the learning-rate schedule from the optimiser; it advances every step. None falls along half a
            cosine to 0 over the whole training, as published.
        class_weights: of the loss, one number for each class; "balanced" makes rare classes weigh as much as others.
        standardise: subtract the mean of each feature over the training instances and divide by its standard
            deviation; the card keeps both. Features of pathology encoders are taken as they are.
        licence: licence of the trained weights, written to their card.
    """

    app = "wsi"
    monitor = "val/auc_plus_f1"  # by which the authors choose: the mean AUC and F1 micro
    picture_titles = ()

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        class_weights: list[float] | Literal["balanced"] | None = None,
        standardise: bool = False,
        licence: str = "",
    ) -> None:
        super().__init__(net, optimizer, scheduler, class_weights, licence)
        self.standardise = standardise
        self.moments: tuple[Tensor, Tensor] | None = None  # mean and deviation; no buffers, as they stand on the card
        self.attention: list[Case] = []  # how concentrated it is, see `concentration_of`
        self.evaluated: tuple[Case, int, np.ndarray | None] | None = None  # a case, its number, the tiles' shares

    def setup(self, stage: str) -> None:
        """Take classes, their weights, and mean and deviation of the features from the data."""
        super().setup(stage)
        if stage == "fit":
            self.loss = BranchAttentionLoss(self.weights)
            self.moments = self.trainer.datamodule.moments() if self.standardise else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take mean and deviation of the features from the card of the weights."""
        if "card" in checkpoint:
            card = Card.from_json(checkpoint["card"])
            self.moments = (torch.tensor(card.mean), torch.tensor(card.std)) if card.mean else None

    def training_loss(self, batch: dict[str, Any]) -> Tensor:
        """Return the loss of one bag."""
        return self.loss.to(self.device)(self.net(self._features(batch)), batch["label"])

    def evaluate(self, batch: dict[str, Any]) -> tuple[Case, list[np.ndarray]]:
        """Score one bag; there are no pictures of it."""
        bag = self._features(batch)
        number = int(batch["number"])
        if not hasattr(self.net, "outputs"):
            case = next(self._cases(batch, self.net(bag).double().softmax(dim=1)))
            self.evaluated = case, number, None
            return case, []
        found = self.net.outputs(bag)
        case = next(self._cases(batch, found.slide.double().softmax(dim=1)))
        shares = slide_attention(found.scores).detach().cpu()
        attention = concentration_of(case["set"], case["name"], shares)
        self.attention.append(attention)
        self.evaluated = case, number, shares.numpy()
        return case | {"attention_entropy": attention["entropy"]}, []

    def exhibit(self, pictures: list[np.ndarray]) -> Exhibit:
        """Return the slide of the bag that was just evaluated, with the attention over it."""
        case, number, shares = self.evaluated
        _, bag = self.trainer.datamodule.evaluation.cases[number]
        return bag_exhibit(bag, case, self.classes, shares)

    def predict_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the probabilities, (1, classes)."""
        return self.net(self._features(batch)).float().softmax(dim=1)

    def configure_optimizers(self) -> Any:
        """Return the optimiser with its schedule by step."""
        found = super().configure_optimizers()
        if self.make_scheduler is not None:
            return found
        steps = self.trainer.estimated_stepping_batches
        if math.isinf(steps):
            return found
        schedule = torch.optim.lr_scheduler.LambdaLR(found, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
        return [found], [{"scheduler": schedule, "interval": "step"}]

    def sample_pictures(self) -> list[tuple[str, list[np.ndarray]]]:
        """Return none, as features show nothing."""
        return []

    def card(self) -> Card:
        """Return the weights card of the network as it stands."""
        channels = getattr(self.net, "in_channels", 1)
        mean, std = self.moments or ((), ())
        facts = self.card_facts(
            kind="bag",
            channels=("feature",) * channels,
            tile=1,
            overlap=0,
            mean=tuple(map(float, mean)),
            std=tuple(map(float, std)),
            outputs=self.classes or tuple(f"class {i}" for i in range(getattr(self.net, "num_classes", 2))),
            activation="softmax",
        )
        training = facts["training"]
        training["features"] = training["data"].pop("features", {})
        return Card(**facts)

    def _features(self, batch: dict[str, Any]) -> Tensor:
        """Return the features of a batch as the network takes them."""
        if self.moments is None:
            return batch["features"]
        mean, deviation = (each.to(self.device) for each in self.moments)
        return (batch["features"] - mean) / deviation

    def _forget(self) -> None:
        super()._forget()
        self.attention = []

    def _report(self, stage: str) -> None:
        self.attention = gathered(self.attention)
        super()._report(stage)
        if self.attention and self.trainer.is_global_zero and not self.trainer.sanity_checking:
            write_cases(self._folder() / f"attention_{stage}.csv", self.attention)

    def _logged(self) -> dict[str, float]:
        found = super()._logged()
        return found | {"auc_plus_f1": found["auc_macro"] + found["f1_micro"]}

    def _draw(self, stage: str) -> None:
        """Draw how concentrated the attention is beside the scores."""
        super()._draw(stage)
        if self.attention:
            runs = {type(self.net).__name__: self.attention}
            draw_concentration(runs, self._folder() / f"attention_{stage}.png")
