"""A plain U-Net over stacked dates, to see beside PMAA what its blocks buy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DateUNet(nn.Module):
    """MONAI's U-Net with batch norm (Falk et al. 2019); like PMAA it sees all dates at once and ends in a tanh.

    Args:
        dates: images of the same place.
        bands: bands of each date.
        num_outputs: bands of the cloud-free image.
        widths: channels of the five scales, then those of the last layer. The defaults have as many parameters as
            PMAA's.
    Shape: (N, dates * bands, H, W) in -1..1, all bands of the first date first, H and W multiples of 16, at least 32
        -> (N, num_outputs, H, W) in -1..1.
    """

    size_multiple = 16
    smallest_size = 32  # so that batch norm meets several positions at the coarsest scale
    scale = 1

    def __init__(
        self,
        dates: int = 3,
        bands: int = 4,
        num_outputs: int = 4,
        widths: Sequence[int] = (40, 40, 80, 168, 344, 40),
    ) -> None:
        super().__init__()
        from monai.networks.nets import BasicUNet

        self.dates = dates
        self.bands = bands
        self.in_channels = dates * bands
        self.num_outputs = num_outputs
        self.net = BasicUNet(2, self.in_channels, num_outputs, widths, norm="batch")

    def forward(self, x: Tensor) -> Tensor:
        """Return the cloud-free image."""
        return torch.tanh(self.net(x))
