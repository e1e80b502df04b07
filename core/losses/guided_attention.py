"""The loss of networks whose attention is guided by autoencoders: segmentation, equal codes, reconstruction."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .segmentation import SegmentationLoss


class GuidedAttentionTerms(NamedTuple):
    """The parts of the loss, unweighted, each in the order of what it was made of.

    Attributes:
        segmentation: (P,) one value for each prediction.
        semantic: (Z / 2,) one for each pair of a first and a second stage's code.
        reconstruction: (R,) one for each reconstruction.
    """

    segmentation: Tensor
    semantic: Tensor
    reconstruction: Tensor


class GuidedAttentionLoss(nn.Module):
    """Sum of the predictions' losses, and mean squared errors of codes and reconstructions (Sinha and Dolz 2020, MSGA).

    The weights are those of the authors' code. Nothing is detached: both codes move, and so does what is reconstructed.

    Args:
        semantic: weight of the distance between the two stages' codes.
        reconstruction: weight of the distance between the autoencoders' inputs and outputs.
        segmentation: loss of one prediction, from (N, C, H, W) logits and (N, H, W) labels; None means cross entropy.
    """

    def __init__(
        self, semantic: float = 0.25, reconstruction: float = 0.1, segmentation: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.semantic = semantic
        self.reconstruction = reconstruction
        self.segmentation = SegmentationLoss(dice=0.0) if segmentation is None else segmentation

    def forward(self, outputs: tuple[list[Tensor], ...], target: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            outputs: predictions, codes, inputs and reconstructions, as `terms` takes them.
            target: labels 0..C-1, (N, H, W), whole numbers.
        """
        return self.total(self.terms(*outputs, target))

    def terms(
        self,
        predictions: list[Tensor],
        codes: list[Tensor],
        inputs: list[Tensor],
        reconstructions: list[Tensor],
        target: Tensor,
    ) -> GuidedAttentionTerms:
        """Return the parts of the loss, unweighted.

        Args:
            predictions: logits, each (N, C, H, W).
            codes: those of the first stage, then those of the second in the same order.
            inputs: what the autoencoders saw.
            reconstructions: what they gave, in the same order.
            target: labels 0..C-1, (N, H, W), whole numbers.
        """
        half = len(codes) // 2
        return GuidedAttentionTerms(
            torch.stack([self.segmentation(each, target) for each in predictions]),
            _distances(codes[:half], codes[half:]),
            _distances(inputs, reconstructions),
        )

    def total(self, terms: GuidedAttentionTerms) -> Tensor:
        """Return the weighted sum of the parts."""
        guidance = self.semantic * terms.semantic.sum() + self.reconstruction * terms.reconstruction.sum()
        return terms.segmentation.sum() + guidance


def _distances(first: list[Tensor], second: list[Tensor]) -> Tensor:
    """Return the mean squared error of every pair, (pairs,), in float32 at least."""
    pairs = zip(first, second, strict=True)
    return torch.stack([F.mse_loss(_wide(one), _wide(other)) for one, other in pairs])


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
