"""The discriminator of PMAA: tells patches of real images from generated ones (Isola et al. 2017, sec. 3.2.2).

Shapes: N batch, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ...core.blocks.convolution import normed

SLOPE = 0.2  # of the leaky ReLU below zero


class PatchDiscriminator(nn.Module):
    """Convolutions of stride two and one more; the logit of each patch tells how real it looks (Zou et al. 2023).

    Args:
        in_channels: all dates and the image to be judged, as channels: 16 for Sen2_MTC_New, 15 for Sen2_MTC_Old.
        widths: channels after each convolution of stride two.
    Shape: (N, in_channels, H, W), H and W at least 64 -> logits (N, 1, H // 32 - 1, W // 32 - 1) for five widths.

    Raises:
        ValueError: no widths.
    """

    def __init__(self, in_channels: int = 16, widths: Sequence[int] = (64, 64, 128, 256, 512)) -> None:
        super().__init__()
        if not widths:
            raise ValueError("the discriminator needs at least one width")
        self.in_channels = in_channels
        self.entry = nn.Sequential(nn.Conv2d(in_channels, widths[0], 4, 2, 1), nn.LeakyReLU(SLOPE))
        self.layers = nn.Sequential(*(_halving(*pair) for pair in pairwise(widths)))
        self.head = nn.Conv2d(widths[-1], 1, 4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(self.layers(self.entry(x)))


def _halving(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(*normed(nn.Conv2d(in_channels, out_channels, 4, 2, 1, bias=False), nn.LeakyReLU(SLOPE)))
