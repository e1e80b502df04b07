"""The cloud teacher of PMAA: finds clouds in one image, so that PMAA learns where to look.

Zou et al., ECAI 2023, arXiv 2303.16565. Shapes: N batch, B bands, H W pixels.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..features import FeatureExtractor


class CloudTeacher(nn.Module):
    """A feature extractor trained to find clouds, whose mask the generator's masks shall equal. It stays frozen.

    Args:
        bands: bands of the image.
        dim: channels of the features.
    Shape: (N, bands, H, W) in -1..1 -> (N, 1, H, W) in 0..1, near 0 on cloud.
    """

    size_multiple = 1

    def __init__(self, bands: int = 4, dim: int = 32) -> None:
        super().__init__()
        self.in_channels = bands
        self.extractor = FeatureExtractor(bands, dim, norm="batch")
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> CloudTeacher:
        """Stay in evaluation mode, also inside a network that trains."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mask of clear sky."""
        return self.extractor(x)[0]
