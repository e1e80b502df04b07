"""Losses of probabilities that were made inside the network: Tversky's index, and it with cross entropy.

Salehi, Erdogmus, Gholipour: "Tversky loss function for image segmentation using 3D fully convolutional deep networks",
2017, arXiv 1706.05721; the hybrid: Yu et al. 2023 (MPU-Net, arXiv 2307.05799), in the form of the authors' code.

Shapes: N batch, C classes, spatial axes (H, W) or (D, H, W), written as ... below.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Entropy = Literal["published", "plain"]


class TverskyEntropyLoss(nn.Module):
    """Tversky loss plus binary cross entropy of every class, each with weight 1 (MPU-Net's hybrid loss).

    Args:
        false: what a voxel wrongly given to a class costs in the index.
        missed: what a voxel costs that the class lacks.
        smooth: voxels added to the index's denominator.
        entropy: "published" squashes the probabilities by a sigmoid once more, as the authors' code does, so that the
            entropy never falls below 0.31; "plain" takes them as they are.

    Raises:
        ValueError: an unknown entropy.
    Shape: probabilities (N, C, ...), target (N, ...) whole numbers 0..C-1 -> scalar, in float32 at least.
    """

    def __init__(
        self, false: float = 0.3, missed: float = 0.7, smooth: float = 1.0, entropy: Entropy = "published"
    ) -> None:
        super().__init__()
        if entropy not in ("published", "plain"):
            raise ValueError(f"entropy must be published or plain, not {entropy!r}")
        self.false = false
        self.missed = missed
        self.smooth = smooth
        self.entropy = entropy

    def forward(self, probabilities: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        with torch.autocast(probabilities.device.type, enabled=False):  # entropies of halves are no numbers
            wide = probabilities.to(torch.promote_types(probabilities.dtype, torch.float32))
            truth = F.one_hot(target, wide.shape[1]).movedim(-1, 1).to(wide.dtype)
            return tversky_loss(wide, truth, self.false, self.missed, self.smooth) + self._entropy(wide, truth)

    def _entropy(self, probabilities: Tensor, truth: Tensor) -> Tensor:
        if self.entropy == "published":
            return F.binary_cross_entropy_with_logits(probabilities, truth)
        return F.binary_cross_entropy(probabilities, truth)


def tversky_loss(
    probabilities: Tensor, truth: Tensor, false: float = 0.3, missed: float = 0.7, smooth: float = 1.0
) -> Tensor:
    """Return 1 - TP / (TP + false F + missed M + smooth), averaged over samples and classes.

    TP, F and M are the sums over space of p t, p (1 - t) and (1 - p) t. With 0.5 for all three weights it is 1 - the
    Dice 2 TP / (2 TP + F + M + 1), which the authors of MPU-Net have beside it. A class that is neither there nor
    predicted costs 1, as the smoothing is in the denominator alone.

    Args:
        probabilities: (N, C, ...), 0..1.
        truth: (N, C, ...), 0..1.
        false: weight of F.
        missed: weight of M.
        smooth: in voxels.

    Returns:
        A scalar, 0..1.
    """
    p, t = probabilities.flatten(2), truth.flatten(2)
    hit = (p * t).sum(-1)
    wrong, lacking = p.sum(-1) - hit, t.sum(-1) - hit
    return (1 - hit / (hit + false * wrong + missed * lacking + smooth)).mean()
