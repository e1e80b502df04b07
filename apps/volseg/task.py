"""Training and evaluation of networks that segment volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from ...core.cases import Case
from ...core.errors import UserError
from ...core.inference.arrays import ArraySink
from ...core.inference.engine import Engine
from ...core.inference.streams import Source
from ...core.inference.windows import whole
from ...core.losses.deep_supervision import AuxiliarySupervision
from ...core.messages import suggestion
from ...core.metrics.segmentation import COUNTS_SAMPLES, DISTANCES, case_scores, class_scores
from ...core.outlines import numbered
from ...core.planes import busiest, sheet
from ...core.report.showcase import Exhibit
from ...core.report.volume import volume_exhibit
from ...core.task import Task
from ...core.weights.card import Card
from ...data.volume_channels import open_labels, open_volume
from ...data.volume_run import prepared_labels, run_volume


class VolumeSegmentation(Task):
    """Learns to give every voxel a class; evaluates whole cases in their own grid, as `infer` computes.

    Args:
        net: the network, (N, C, D, H, W) -> logits (N, K, D, H, W), in training also a tuple of several resolutions;
            it declares `in_channels`, `num_classes` (K, the background first) and `size_multiple`.
        loss: takes the network's outputs and the class numbers (N, D, H, W).
        classes: names of the classes other than background; None for those that the data names.
        scored: the classes whose mean is reported; None for all.
        protocol: rule for empty masks, one of `core.metrics.segmentation.PROTOCOLS`.
        tolerance_mm: distance within which a border counts as found in the surface Dice (NSD).
        tta: average over the eight mirrored views in `test`, as publications do; validation never does.
        optimizer: makes the optimiser from the parameters.
        scheduler: makes the learning-rate schedule from the optimiser; it advances every step.
        licence: licence of the trained weights, written to their card.
    """

    app = "volseg"
    monitor = "val/dice"
    picture_titles = ("truth", "network")

    def __init__(
        self,
        net: nn.Module,
        loss: nn.Module,
        classes: list[str] | None = None,
        scored: list[str] | None = None,
        protocol: str = "strict",
        tolerance_mm: float = 1.0,
        tta: bool = False,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        licence: str = "",
    ) -> None:
        super().__init__(net, optimizer, scheduler, licence)
        self.loss = loss
        self.classes = classes
        self.scored = scored
        self.protocol = protocol
        self.units = {} if protocol in COUNTS_SAMPLES else dict.fromkeys(DISTANCES, "mm")
        self.tolerance_mm = tolerance_mm
        self.tta = tta
        self.trained: Card | None = None  # the card of a checkpoint that is evaluated
        self.evaluated: tuple[Sequence[Path], np.ndarray, np.ndarray] | None = None  # files, truth, prediction

    def setup(self, stage: str) -> None:
        """Hold the names of classes against the network before training.

        Raises:
            UserError: there are not as many names as the network has classes, or a class that is scored is none.
        """
        if stage != "fit":
            return
        names, outputs = self._planned().outputs[1:], self.net.num_classes
        if len(names) != outputs - 1:
            raise UserError(
                f"model.classes names {len(names)} classes ({', '.join(names)}); a network of {outputs} outputs tells "
                f"{outputs - 1} apart from the background."
            )
        if unknown := next((each for each in self.scored or () if each not in names), None):
            raise UserError(f"model.scored: there is no class {unknown!r}{suggestion(unknown, names)}")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Evaluate a network with the plan that it was trained with, whatever data it is evaluated on."""
        if "card" in checkpoint and self.trainer.state.fn != TrainerFn.FITTING:
            self.trained = Card.from_json(checkpoint["card"])

    def on_train_epoch_start(self) -> None:
        """Tell a loss that changes in the course of the training where that is."""
        if isinstance(self.loss, AuxiliarySupervision):
            self.loss.start_epoch(self.current_epoch)

    def training_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of all outputs."""
        return self.loss(self.net(batch["image"]), batch["mask"])

    def evaluate(self, batch: dict[str, Any]) -> tuple[Case, list[np.ndarray]]:
        """Score one case in the grid of its files."""
        card = self.card()
        with open_volume(batch["images"]) as source, open_labels(batch["label"], batch["relabel"]) as labels:
            truth = prepared_labels(labels, replace(card, spacing=(), orientation=""))  # as they are stored
            prediction = self._predicted(source, card)
            is_kept = len(self.pictures) < self.num_samples
            pictures = self._pictures(source, truth, prediction, card) if is_kept else []
            scores = self._scores(prediction, truth, card, source.geometry.spacing_mm)
        self.evaluated = batch["images"], truth, prediction
        return {"set": batch["set"], "name": batch["name"], **scores}, pictures

    def exhibit(self, pictures: list[np.ndarray]) -> Exhibit:
        """Return the three planes of the case that was just evaluated, with truth and prediction over the image."""
        images, *maps = self.evaluated
        with open_volume(images) as source:
            place = source.geometry
            titled = dict(zip(self.picture_titles, maps, strict=True))
            return volume_exhibit(source, titled, self.card().labels, place.orientation, place.spacing_mm)

    def predict_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the class numbers of a case in the grid of its files, (1, D, H, W)."""
        with open_volume(batch["images"]) as source:
            return torch.from_numpy(self._predicted(source, self.card()))[None]

    def card(self) -> Card:
        """Return the weights card of the network as it stands."""
        basis = self.trained or self._planned()
        facts = self.card_facts(
            fixed_tile=getattr(self.net, "fixed_tile", False),
            probabilities=getattr(self.net, "gives_probabilities", False),
        )
        facts["training"]["plan"] = basis.training["plan"]
        return replace(basis, **facts)

    def _planned(self) -> Card:
        """Return what a card says of the input and the classes, by the plan of the training data."""
        plan = self.trainer.datamodule.plan
        names = self.classes or plan.classes or [f"class {number}" for number in range(1, self.net.num_classes)]
        return replace(
            plan.card(),
            outputs=("background", *names),
            activation="argmax",
            labels=numbered(names),
            training={"plan": plan.plain()},
        )

    def _predicted(self, source: Source, card: Card) -> np.ndarray:
        """Return class numbers (D, H, W) in the grid of a source."""
        sink = ArraySink(source.shape[1:], source.geometry)
        engine = Engine(self.net, card, self.device, tta=self.tta and self.trainer.testing, blend="gaussian")
        run_volume(engine, source, sink)
        return sink.array[0]

    def _scores(
        self, prediction: np.ndarray, truth: np.ndarray, card: Card, spacing: Sequence[float]
    ) -> dict[str, float]:
        wanted = self.scored or card.outputs
        names = {each.value: each.name for each in card.labels if each.name in wanted}
        maps = (torch.from_numpy(each) for each in (prediction, truth))
        return case_scores(class_scores(*maps, names, self.protocol, spacing, self.tolerance_mm))

    def _pictures(self, source: Source, truth: np.ndarray, prediction: np.ndarray, card: Card) -> list[np.ndarray]:
        """Return the planes with most of the truth, with its outlines and with those of the prediction."""
        image = source.read(whole(source.shape[1:]))[0]
        place, geometry = busiest(truth), source.geometry
        around = (card.labels, place, geometry.orientation, geometry.spacing_mm)
        return [sheet(image, each, *around) for each in (truth, prediction)]
