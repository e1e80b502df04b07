"""Training and evaluation of image classifiers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from ...core.attention_overlay import draw_attention, overlay
from ...core.cases import Case
from ...core.classification import Classifier
from ...core.errors import UserError
from ...core.pretrained_task import PretrainedTask
from ...core.report.showcase import Exhibit
from ...core.weights.card import Card, colour_names
from .models.medusa import MAP_TITLES, MEDUSA, AttentionMaps

LARGEST_PICTURE = 256  # pixels along a side of the sample sheet


@dataclass(frozen=True)
class Looked:
    """A case with what the network attended to.

    Attributes:
        name: of the case, with its true and predicted class.
        image: (C, H, W) in 0..1.
        maps: attention and mean gate of each scale, (5, H, W); (0, H, W) for a network without attention.
    """

    name: str
    image: np.ndarray
    maps: np.ndarray


class Classification(PretrainedTask, Classifier):
    """Learns classes by the cross-entropy; scores sensitivity, PPV, specificity, ROC area and calibration.

    Args:
        net: the network, (N, C, H, W) in 0..1 -> (N, classes), logits; it declares `num_classes` and `in_channels`.
        optimizer: makes the optimiser from the parameters.
        scheduler: makes the learning-rate schedule from the optimiser; it advances every step.
        class_weights: of the loss, one number for each class; "balanced" makes rare classes weigh as much as others.
        label_smoothing: share of each label that is spread over all classes, 0..1.
        pretrained: weights to begin with, all but the classifier's: "imagenet" (downloaded once) or a file.
        lr_factors: {beginning of parameter names: factor on their learning rate}, such as {heads: 10} for MEDUSA.
        licence: licence of the trained weights, written to their card.
    """

    app = "medseg"
    monitor = "val/balanced_accuracy"
    picture_titles = ("image", *MAP_TITLES)

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        class_weights: list[float] | Literal["balanced"] | None = None,
        label_smoothing: float = 0.0,
        pretrained: str | None = None,
        lr_factors: dict[str, float] | None = None,
        licence: str = "",
    ) -> None:
        super().__init__(net, optimizer, scheduler, class_weights, licence)
        self.label_smoothing = label_smoothing
        self.pretrained = pretrained
        self.lr_factors = lr_factors or {}
        self.size = 480
        self.looked: list[Looked] = []
        self._check_factors()

    def setup(self, stage: str) -> None:
        """Take classes and size from the data."""
        super().setup(stage)
        self.size = self.trainer.datamodule.size

    def training_loss(self, batch: dict[str, Any]) -> Tensor:
        """Return the cross-entropy."""
        logits = self._logits(batch["image"], batch.get("original")).float()
        weights = None if self.weights is None else self.weights.to(logits.device)
        return F.cross_entropy(logits, batch["label"], weights, label_smoothing=self.label_smoothing)

    def evaluate(self, batch: dict[str, Any]) -> tuple[Case, list[np.ndarray]]:
        """Score the first case of a batch."""
        probabilities, looked = self._looked_at(batch)
        return next(self._cases(batch, probabilities)), _pictures(looked[0])

    def predict_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the probabilities, (N, classes)."""
        return self.net(batch["image"]).float().softmax(dim=1)

    def optimizer_of_net(self) -> torch.optim.Optimizer:
        """Return the optimiser, the learning rates of some parameters multiplied."""
        groups: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.net.named_parameters():
            prefix = next((each for each in self.lr_factors if name.startswith(each)), "")
            groups.setdefault(prefix, []).append(parameter)
        optimizer = self.make_optimizer([{"params": members} for members in groups.values()])
        for group, prefix in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] *= self.lr_factors.get(prefix, 1.0)
        return optimizer

    def sample_pictures(self) -> list[tuple[str, list[np.ndarray]]]:
        """Return the columns of the sample sheet: the image, and its attention where the network has some."""
        return [(title, list(column)) for title, *column in zip(self.picture_titles, *self.pictures, strict=False)]

    def card(self) -> Card:
        """Return the weights card of the network as it stands."""
        channels = getattr(self.net, "in_channels", 3)
        names = self.classes or tuple(f"class {i}" for i in range(getattr(self.net, "num_classes", 2)))
        facts = self.card_facts(
            name=str(getattr(self.net, "name", type(self.net).__name__.lower())),
            kind="classes",
            channels=colour_names(channels),
            tile=self.size,
            overlap=0,
            frame=(self.size, self.size),
            outputs=names,
            activation="softmax",
        )
        return Card(**facts)

    def _score(self, batch: dict[str, Any]) -> None:
        """Score every case of a batch."""
        with torch.autocast(self.device.type, enabled=False):  # scores are those of the full-precision network
            if len(self.pictures) < self.num_samples:
                probabilities, looked = self._looked_at(batch)
                self.looked += looked[: self.num_samples - len(self.looked)]
                self.pictures = [_pictures(each) for each in self.looked]
            else:
                probabilities = self._logits(batch["image"]).double().softmax(dim=1)
            for number, case in enumerate(self._cases(batch, probabilities)):
                self.cases.append(case)
                self.showcase.offer(case, partial(self._exhibit, batch, number, case))

    def _exhibit(self, batch: dict[str, Any], number: int, case: Case) -> Exhibit:
        """Return one case of a batch as the report shows it: with its attention and its probabilities."""
        alone = {key: batch[key][number : number + 1] for key in ("image", "name", "label")}
        drawn = _pictures(self._looked_at(alone)[1][0])
        shares = {name: float(case[f"probability_{name}"]) for name in self.classes}
        facts = {"truth": case["truth"], "predicted": case["predicted"], "probabilities": shares}
        return Exhibit("classes", dict(zip(self.picture_titles, drawn, strict=False)), facts)

    def _forget(self) -> None:
        super()._forget()
        self.looked = []

    def _draw(self, stage: str) -> None:
        """Draw the attention to some cases beside their scores."""
        super()._draw(stage)
        for number, each in enumerate(self.looked):
            if len(each.maps):
                maps = [(title, values, None) for title, values in zip(MAP_TITLES, each.maps, strict=True)]
                draw_attention(each.image, maps, self._folder() / f"attention_{stage}_{number + 1}.png", each.name)

    def _logits(self, image: Tensor, original: Tensor | None = None) -> Tensor:
        """Return the logits; MEDUSA's body may look at the image before augmentation."""
        if original is not None and isinstance(self.net, MEDUSA):
            return self.net(image, self.net.body_image(original))
        return self.net(image)

    def _looked_at(self, batch: dict[str, Any]) -> tuple[Tensor, list[Looked]]:
        """Return the probabilities, (N, classes) float64, and every case with its attention."""
        image = batch["image"]
        logits, maps = self.net(image), image.new_zeros(len(image), 0, *image.shape[2:])
        if isinstance(self.net, MEDUSA):
            logits, attention, gates = AttentionMaps(self.net)(image)
            maps = torch.cat([attention, gates], dim=1)
        probabilities = logits.double().softmax(dim=1)
        titles = [
            f"{name}: {self._name(truth)}, taken for {self._name(row.argmax())} ({row.max():.0%})"
            for name, truth, row in zip(batch["name"], batch["label"], probabilities, strict=True)
        ]
        shown = (each.detach().float().cpu().numpy() for each in (image, maps))
        return probabilities, [Looked(*each) for each in zip(titles, *shown, strict=True)]

    def _check_factors(self) -> None:
        names = [name for name, _ in self.net.named_parameters()]
        for prefix in self.lr_factors:
            if not any(name.startswith(prefix) for name in names):
                raise UserError(
                    f"model.lr_factors: no parameter of {type(self.net).__name__} begins with {prefix!r}; "
                    f"they begin with {', '.join(dict.fromkeys(name.partition('.')[0] for name in names))}."
                )


def _pictures(looked: Looked) -> list[np.ndarray]:
    """Return the image, and each of its maps over it, uint8 (H, W, 3), at most as large as the sample sheet takes."""
    step = -(-max(looked.image.shape[1:]) // LARGEST_PICTURE)
    image, maps = looked.image[:, ::step, ::step], looked.maps[:, ::step, ::step]
    shown = (np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0).clip(0, 1) * 255).round()
    return [shown.astype(np.uint8), *(overlay(image, each, float(each.min()), float(each.max())) for each in maps)]
