"""Losses of networks that predict at several depths in training.

Both take what a network gives, one tensor or, in training, a tuple whose first is the prediction that counts, so that a
task need not know which of the two it has. N batch, C classes, spatial axes (H, W) or (D, H, W), written as ... below.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Outputs = Tensor | Sequence[Tensor]


class DeepSupervision(nn.Module):
    """Weighted mean of the losses of several resolutions: each weighs half as much as the next finer one.

    The rule of nnU-Net (Isensee et al. 2021) and so of D-Former: weights 1, 1/2, 1/4, ..., divided by their sum; the
    target of a coarse resolution are the labels at its voxels' places (nearest neighbour).

    Args:
        loss: loss of one resolution, from logits (N, C, ...) and labels (N, ...).
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Outputs, target: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            outputs: logits (N, C, ...), or several of them, the finest first.
            target: labels (N, ...), whole numbers, of the size of the finest.
        """
        levels = [outputs] if isinstance(outputs, Tensor) else outputs
        total = sum(0.5**i * self.loss(each, nearest(target, each.shape[2:])) for i, each in enumerate(levels))
        return total / (2 - 0.5 ** (len(levels) - 1))


class AuxiliarySupervision(nn.Module):
    """Loss of the prediction, and with a weight that falls as the training goes on, those of predictions beside it.

    MPU-Net's rule (Yu et al. 2023, in the authors' code). Nothing is normalised.

    Args:
        loss: loss of one prediction, from (N, C, ...) and labels (N, ...).
        weight: the weight of each further prediction in the course of the training.
    """

    def __init__(self, loss: nn.Module, weight: "StepDecay | None" = None) -> None:
        super().__init__()
        self.loss = loss
        self.weight = StepDecay() if weight is None else weight
        self.epoch = 0

    def start_epoch(self, epoch: int) -> None:
        """Let the weight be that of an epoch, counted from 0."""
        self.epoch = epoch

    def forward(self, outputs: Outputs, target: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            outputs: what the network gives (N, C, ...), or several of them, the one that counts first.
            target: labels (N, ...), whole numbers.
        """
        if isinstance(outputs, Tensor):
            return self.loss(outputs, target)
        main, *others = (self.loss(each, nearest(target, each.shape[2:])) for each in outputs)
        return main + self.weight(self.epoch) * sum(others)


class StepDecay:
    """A weight that is multiplied by a factor after every so many epochs.

    Args:
        start: the weight in the first epochs.
        factor: by which it is multiplied.
        epochs: after which it is.
    """

    def __init__(self, start: float = 0.4, factor: float = 0.8, epochs: int = 30) -> None:
        self.start = start
        self.factor = factor
        self.epochs = epochs

    def __call__(self, epoch: int) -> float:
        """Return the weight in an epoch, counted from 0."""
        return self.start * self.factor ** (epoch // self.epochs)


def nearest(target: Tensor, size: torch.Size) -> Tensor:
    """Return labels (N, ...) at the voxels of another size, without mixing any."""
    if target.shape[1:] == size:
        return target
    return F.interpolate(target[:, None].float(), size=size, mode="nearest")[:, 0].to(target.dtype)
