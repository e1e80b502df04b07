"""The structure loss: cross entropy and overlap, weighted where a pixel differs from its surroundings.

Wei, Wang, Huang: "F3Net: Fusion, Feedback and Focus for Salient Object Detection", AAAI 2020, eq. 4-8, in the forms of
PraNet (Fan et al. 2020, sec. 2.4). Shapes: N batch, K classes, H W pixels.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Form = Literal["published", "intended"]


class StructureLoss(nn.Module):
    """Cross entropy plus intersection over union, summed over all supervised maps, each with the same weight.

    Args:
        form: "published" weighs the overlap alone, as the code behind the published weights does (a deprecated argument
            turns its weighted cross entropy into the plain mean); "intended" weighs the cross entropy too, as the paper
            says.
        window: side of the surroundings in pixels, odd.
        factor: how much more a pixel counts that differs wholly from its surroundings.

    Raises:
        ValueError: an unknown form, or an even window.
    Shape: logits (N, K, H, W) or several of them, mask (N, K, H, W) in 0..1, may be soft, or class numbers (N, H, W)
        -> scalar. For one class the logits are of that class; for more they are of exclusive classes, background first,
        and the mask adds up to 1.
    """

    def __init__(self, form: Form = "published", window: int = 31, factor: float = 5.0) -> None:
        super().__init__()
        if form not in ("published", "intended"):
            raise ValueError(f"form must be published or intended, not {form!r}")
        if window % 2 == 0:
            raise ValueError(f"window {window} must be odd")
        self.form = form
        self.window = window
        self.factor = factor

    def forward(self, maps: Tensor | Sequence[Tensor], mask: Tensor) -> Tensor:
        """Return the loss."""
        logits = [maps] if isinstance(maps, Tensor) else maps
        if mask.ndim == 3:
            mask = _planes(mask, logits[0])
        weight = structure_weight(mask, self.window, self.factor)
        return torch.stack([structure_term(each, mask, weight, self.form) for each in logits]).sum()


def _planes(labels: Tensor, logits: Tensor) -> Tensor:
    """Return class numbers (N, H, W) as one plane for each class that the logits have."""
    if logits.shape[1] == 1:
        return labels[:, None].to(logits.dtype)
    return F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(logits.dtype)


def structure_weight(mask: Tensor, window: int = 31, factor: float = 5.0) -> Tensor:
    """Return the weight of each pixel, (N, 1, H, W): 1, and `factor` more the more it differs from its surroundings.

    The surroundings are the mean over a square, with zeros beyond the border; of several classes counts the one other
    than background that differs most.
    """
    objects = mask if mask.shape[1] == 1 else mask[:, 1:]
    half = window // 2
    rows = F.avg_pool2d(objects, (window, 1), stride=1, padding=(half, 0))  # a square is a column of rows
    around = F.avg_pool2d(rows, (1, window), stride=1, padding=(0, half))
    return 1 + factor * (around - objects).abs().amax(dim=1, keepdim=True)


def structure_term(logits: Tensor, mask: Tensor, weight: Tensor, form: Form = "published") -> Tensor:
    """Return the loss of one map: the mean over images of its cross entropy and 1 - weighted intersection over union.

    Args:
        logits: (N, K, H, W).
        mask: likewise, 0..1, may be soft.
        weight: of each pixel, (N, 1, H, W), as `structure_weight` gives it.
        form: as of `StructureLoss`.

    Raises:
        ValueError: logits and mask differ in shape.
    """
    if logits.shape != mask.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and mask {tuple(mask.shape)} must have one shape")
    entropy, probability = _entropy(logits, mask)
    if form == "intended":
        entropy = (weight * entropy).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))
    objects = mask[:, -probability.shape[1] :]
    both = (weight * probability * objects).sum(dim=(2, 3))
    either = (weight * (probability + objects)).sum(dim=(2, 3)) - both
    return entropy.mean() + (1 - (both + 1) / (either + 1)).mean()


def _entropy(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross entropy of each pixel, (N, 1, H, W), and the probability of each class but background."""
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits, mask, reduction="none"), torch.sigmoid(logits)
    return -(mask * logits.log_softmax(dim=1)).sum(dim=1, keepdim=True), logits.softmax(dim=1)[:, 1:]
