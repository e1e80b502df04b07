"""Training and evaluation of networks that segment medical images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...core.metrics.segmentation import case_scores, class_scores
from ...core.segmentation import Segmentation


class MedicalSegmentation(Segmentation):
    """Scores Dice, IoU, HD95, ASSD and surface Dice of each class, by image or by subject, and their means.

    A class that is empty in truth and prediction has no value in that case; one that is empty in one of them scores 0,
    at the distance of the image's diagonal (`strict` of `core.metrics.segmentation`).

    Args:
        protocol: rule for empty masks, one of `core.metrics.segmentation.PROTOCOLS`.
        *args: see `Segmentation`.
        **kwargs: see `Segmentation`.
    """

    app = "medseg"
    monitor = "val/dice"

    def __init__(self, *args: Any, protocol: str = "strict", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.protocol = protocol

    def scores(self, probabilities: Tensor, masks: Tensor, spacing: Sequence[float] | None) -> dict[str, float]:
        """Return the scores of each class and their means over the classes that have one."""
        prediction, truth = self.predicted(probabilities), masks.to(probabilities.device)
        if len(truth) == 1:
            prediction, truth = prediction[0], truth[0]
        names = dict(enumerate(self.classes, start=1))
        return case_scores(class_scores(prediction, truth, names, self.protocol, spacing))
