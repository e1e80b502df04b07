"""Losses of segmentation into exclusive classes: cross entropy, soft Dice, and their sum.

Shapes: N batch, C classes, spatial axes (H, W) or (D, H, W), written as ... below. A target of -100 is ignored, like in
PyTorch's cross entropy.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = -100


class SegmentationLoss(nn.Module):
    """Weighted sum of cross entropy and soft Dice loss (the pair of nnU-Net, Isensee et al. 2021).

    Args:
        cross_entropy: weight of the cross entropy.
        dice: weight of the soft Dice loss.
        class_weights: weight of each class in both; None means 1 for all.
        include_background: let class 0 count in the Dice loss.
        ignore_empty: leave a class that a batch's target lacks out of the Dice loss.
        ignore_index: target of samples that count nowhere.
        pooled: take the Dice loss of the whole batch ("batch Dice"), not the mean over its images.

    Raises:
        ValueError: class weights that are negative or all zero.
    Shape: logits (N, C, ...), target (N, ...) whole numbers -> scalar, in float32 at least.
    """

    def __init__(
        self,
        cross_entropy: float = 1.0,
        dice: float = 1.0,
        class_weights: Sequence[float] | None = None,
        include_background: bool = True,
        ignore_empty: bool = True,
        ignore_index: int = IGNORED,
        pooled: bool = True,
    ) -> None:
        super().__init__()
        self.cross_entropy = cross_entropy
        self.dice = dice
        self.include_background = include_background
        self.ignore_empty = ignore_empty
        self.ignore_index = ignore_index
        self.pooled = pooled
        self.register_buffer("class_weights", _class_weights(class_weights), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = wide.new_zeros(())
        if self.cross_entropy:
            loss = loss + self.cross_entropy * cross_entropy(wide, target, self.class_weights, self.ignore_index)
        if self.dice:
            loss = loss + self.dice * soft_dice_loss(
                wide,
                target,
                self.class_weights,
                include_background=self.include_background,
                ignore_empty=self.ignore_empty,
                ignore_index=self.ignore_index,
                pooled=self.pooled,
            )
        return loss


def cross_entropy(
    logits: Tensor, target: Tensor, class_weights: Tensor | None = None, ignore_index: int = IGNORED
) -> Tensor:
    """Return the mean cross entropy, weighted by the class of each sample; 0 where every sample is ignored.

    PyTorch's own mean is not a number then, which ends a training.

    Args:
        logits: (N, C, ...).
        target: (N, ...), labels 0..C-1 or `ignore_index`.
        class_weights: (C,), or None for 1.
        ignore_index: target of samples that do not count.
    """
    weights = None if class_weights is None else class_weights.to(logits.dtype)
    total = F.cross_entropy(logits, target, weights, ignore_index=ignore_index, reduction="sum")
    counted = target != ignore_index
    if weights is None:
        return total / counted.sum().clamp_min(1)
    weight = weights[target.where(counted, 0)] * counted
    return total / weight.sum().clamp_min(torch.finfo(logits.dtype).tiny)


def soft_dice_loss(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    *,
    include_background: bool = True,
    ignore_empty: bool = True,
    ignore_index: int = IGNORED,
    smooth: float = 1e-5,
    pooled: bool = True,
) -> Tensor:
    """Return 1 - Dice of the softmax probabilities, averaged over classes, and over images if they are not pooled.

    Dice = (2 Σ p g + s) / (Σ p + Σ g + s), after Milletari et al. 2016 (V-Net, sec. 3, with plain sums below). The
    small s keeps a class that is neither predicted nor there at a loss of 0; the metric of the same name has none.

    Args:
        logits: (N, C, ...).
        target: (N, ...), labels 0..C-1 or `ignore_index`.
        class_weights: (C,) weights of the average, or None for 1.
        include_background: let class 0 count.
        ignore_empty: leave out a class that the target lacks. Otherwise it costs up to 1, with hardly any gradient.
        ignore_index: target of samples that do not count.
        smooth: s above, in samples.
        pooled: sum the counts over the whole batch; otherwise every image has its own Dice, and its own empty classes.

    Returns:
        A scalar in 0..1; 0, without gradient to speak of, where no class counts.
    """
    counted = (target != ignore_index).unsqueeze(1)
    labels = target.where(counted.squeeze(1), 0)
    truth = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(logits.dtype) * counted
    probability = logits.softmax(1) * counted
    samples = [axis for axis in range(logits.ndim) if axis > 1 or (axis == 0 and pooled)]
    common, predicted, there = (each.sum(samples) for each in (probability * truth, probability, truth))
    dice = (2 * common + smooth) / (predicted + there + smooth)
    weights = torch.ones_like(dice) if class_weights is None else class_weights.to(dice.dtype).expand_as(dice)
    if not include_background:
        weights = weights * (torch.arange(logits.shape[1], device=weights.device) > 0)
    if ignore_empty:
        weights = weights * (there > 0)
    return ((1 - dice) * weights).sum() / weights.sum().clamp_min(torch.finfo(dice.dtype).tiny)


def _class_weights(weights: Sequence[float] | None) -> Tensor | None:
    if weights is None:
        return None
    if min(weights, default=0) < 0 or sum(weights) <= 0:
        raise ValueError(f"class weights must not be negative and not all zero, found {list(weights)}")
    return torch.tensor(weights, dtype=torch.float32)
