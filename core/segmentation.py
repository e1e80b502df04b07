"""The base of the tasks that segment images: one training step, one evaluation, one card."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from .cases import Case
from .errors import UserError
from .inference.activate import activate
from .inference.engine import Engine
from .outlines import numbered, outlined
from .pretrained_task import PretrainedTask
from .weights.card import Card, colour_names
from .weights.label import Label


class Segmentation(PretrainedTask):
    """Learns to give every pixel a class; evaluates through the engine, as `infer` computes.

    A subclass says in `scores` how a case is measured.

    Args:
        net: the network, (N, C, H, W) -> logits (N, K, H, W), in training also several of them; it declares
            `in_channels`, `num_classes` (K) and `size_multiple`. One output is the logit of the only class, several are
            those of exclusive classes, the first the background.
        loss: takes the network's outputs and the batch's masks.
        classes: names of the classes other than background.
        optimizer: makes the optimiser from the parameters.
        scheduler: makes the learning-rate schedule from the optimiser; it advances every step.
        frame: the size (H, W) to which every image is resized; None for tiles of its own resolution.
        tile: side of such a tile, pixels.
        mean: subtracted from each channel in 0..1; None for nothing.
        std: by which each channel is divided then.
        intensity: how volumes and DICOM become 0..1, as on the card.
        pretrained: weights of the encoder to begin with: "imagenet" (downloaded once) or a file.
        licence: licence of the trained weights, written to their card.

    Raises:
        UserError: the classes are not as many as the network's.
    """

    picture_titles = ("image", "truth", "network")
    exhibit_kind = "overlay"

    def __init__(
        self,
        net: nn.Module,
        loss: nn.Module,
        classes: list[str],
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        frame: tuple[int, int] | None = None,
        tile: int = 256,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        intensity: dict[str, Any] | None = None,
        pretrained: str | None = None,
        licence: str = "",
    ) -> None:
        super().__init__(net, optimizer, scheduler, licence)
        expected = max(1, net.num_classes - 1)
        if len(classes) != expected:
            raise UserError(
                f"model.classes names {len(classes)} classes ({', '.join(classes)}); a network of {net.num_classes} "
                f"outputs tells {expected} apart from the background."
            )
        self.loss = loss
        self.classes = classes
        self.frame = tuple(frame) if frame else ()
        self.tile = tile
        self.mean = tuple(mean or ())
        self.std = tuple(std or ())
        self.intensity = intensity or {}
        self.pretrained = pretrained
        self.exhibit_facts = {"classes": {each.name: f"#{bytes(each.colour).hex()}" for each in self.labels()}}

    @abstractmethod
    def scores(self, probabilities: Tensor, masks: Tensor, spacing: Sequence[float] | None) -> dict[str, float]:
        """Return the metrics of one case.

        Args:
            probabilities: (S, K, h, w) of the S slices of the case.
            masks: class numbers (S, h, w).
            spacing: millimetres between samples along (S, h, w), or (h, w) for a single slice; None where not known.
        """

    def training_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of the outputs on normalised images."""
        image = batch["image"]
        if self.mean:
            mean, std = (image.new_tensor(each).view(-1, 1, 1) for each in (self.mean, self.std))
            image = (image - mean) / std
        return self.loss(self.net(image), batch["mask"])

    def evaluate(self, batch: dict[str, Any]) -> tuple[Case, list[np.ndarray]]:
        """Score one case: an image, or the slices of a subject."""
        probabilities = torch.stack([self._probabilities(image) for image in batch["images"]])
        case: Case = {"set": batch["set"], "name": batch["name"]}
        case |= self.scores(probabilities, batch["masks"], _spacing(batch))
        return case, self._pictures(batch, probabilities)

    def predict_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Return the probabilities of every slice of a case, (1, S, K, h, w)."""
        return torch.stack([self._probabilities(image) for image in batch["images"]])[None]

    def card(self) -> Card:
        """Return the weights card of the network as it stands."""
        multiple = self.net.size_multiple
        tile = -(-self.tile // multiple) * multiple
        is_single = self.net.num_classes == 1
        facts = self.card_facts(
            channels=colour_names(self.net.in_channels),
            tile=tile,
            overlap=tile // 4,
            frame=self.frame,
            mean=self.mean,
            std=self.std,
            intensity=self.intensity,
            axis=self._axis(),
            outputs=tuple(self.classes if is_single else ["background", *self.classes]),
            activation="threshold" if is_single else "argmax",
            labels=self.labels(),
        )
        return Card(**facts)

    def labels(self) -> tuple[Label, ...]:
        """Return what the values of a label map mean."""
        return numbered(self.classes)

    def predicted(self, probabilities: Tensor) -> Tensor:
        """Return class numbers (S, h, w) of probabilities (S, K, h, w)."""
        return (probabilities[:, 0] > 0.5).long() if probabilities.shape[1] == 1 else probabilities.argmax(1)

    def _probabilities(self, image: Tensor) -> Tensor:
        """Return the probabilities (K, h, w) of one image (C, h, w) at its own size."""
        card = replace(self.card(), activation="none", intensity={})
        logits = Engine(self.net, card, self.device).array(image.cpu().numpy())
        return torch.from_numpy(activate(logits, "sigmoid" if len(logits) == 1 else "softmax"))

    def _pictures(self, batch: dict[str, Any], probabilities: Tensor) -> list[np.ndarray]:
        """Return the slice with most to see: the image, and the outlines of truth and prediction on it."""
        masks = batch["masks"].cpu()
        middle = int((masks > 0).flatten(1).sum(1).argmax())
        image = (batch["images"][middle].cpu().clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
        image = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
        maps = (masks[middle].numpy(), self.predicted(probabilities)[middle].numpy())
        return [image, *(outlined(image, each, self.labels()) for each in maps)]

    def _axis(self) -> int:
        """Return the axis of volumes along which the training slices were taken; 2 for images."""
        return next((each.axis for each in getattr(self.data, "train_sources", ()) if hasattr(each, "axis")), 2)


def _spacing(batch: dict[str, Any]) -> tuple[float, ...] | None:
    """Return the millimetres between samples along the axes of a case, where all are known."""
    if batch["spacing"] is None or len(batch["images"]) == 1:
        return batch["spacing"]
    return None if batch["step"] is None else (batch["step"], *batch["spacing"])
