"""Training and evaluation of networks that segment polyps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...core.cases import everywhere
from ...core.metrics.overlap import as_mask, count, dice
from ...core.metrics.saliency import SaliencyScores, pooled_scores, saliency_scores
from ...core.segmentation import Segmentation
from .multiscale import resized


class PolypSegmentation(Segmentation):
    """Scores the six measures of PraNet's protocol, and Dice at a probability of one half.

    With several classes the measures are those of all objects against the background, and Dice is also that of each
    class.

    Args:
        scales: sides of the training images relative to the data's, rounded to whole multiples of the network's; each
            step takes the next. (PraNet's recipe takes each batch at every scale, one step each.)
        *args: see `Segmentation`.
        **kwargs: see `Segmentation`.
    """

    app = "polyp"
    monitor = "val/mean_dice"

    def __init__(self, *args: Any, scales: list[float] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scales = scales or [1.0]
        self.saliency: list[SaliencyScores] = []

    def training_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss at the scale of this step."""
        ratio, multiple = self.scales[self.global_step % len(self.scales)], self.net.size_multiple
        mask = batch["mask"]
        if mask.ndim == 4:
            mask = resized(mask, ratio, multiple)
        else:  # class numbers are not mixed
            mask = resized(mask[:, None].float(), ratio, multiple, "nearest")[:, 0].long()
        return super().training_loss({"image": resized(batch["image"], ratio, multiple), "mask": mask})

    def scores(self, probabilities: Tensor, masks: Tensor, spacing: Sequence[float] | None) -> dict[str, float]:
        """Return the measures of one frame."""
        truth, prediction = masks[0].to(probabilities.device), self.predicted(probabilities)[0]
        objects = probabilities[0, 0] if probabilities.shape[1] == 1 else 1 - probabilities[0, 0]
        measured = saliency_scores(objects, truth > 0)
        self.saliency.append(measured)
        result = {**measured.row(), "dice_at_half": dice(count(prediction > 0, truth > 0))}
        if len(self.classes) > 1:
            names = enumerate(self.classes, start=1)
            result |= {f"dice_{name}": dice(count(as_mask(prediction, n), as_mask(truth, n))) for n, name in names}
        return result

    def _forget(self) -> None:
        super()._forget()
        self.saliency = []

    def _report(self, stage: str) -> None:
        """Add the published max E, the maximum of the mean curve, which is no mean over images."""
        super()._report(stage)
        if scores := everywhere(self.saliency):
            self.log(f"{stage}/max_e_pooled", pooled_scores(scores)["max_e"].mean, rank_zero_only=False)
