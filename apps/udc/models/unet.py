"""A plain U-Net that restores pictures, to see beside DWFormer what its blocks buy."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class UNet(nn.Module):
    """MONAI's U-Net with batch norm (Falk et al. 2019), whose output is added to the picture as DWFormer's is.

    Args:
        in_channels: channels of the picture, in 0..1.
        widths: channels of the five scales, then those of the last layer. The defaults have as many parameters as
            DWFormer's.
    Shape: (N, in_channels, H, W), multiples of 16, at least 32 -> the same, not clipped.
    """

    size_multiple = 16
    smallest_size = 32  # so that batch norm meets several positions at the coarsest scale
    scale = 1

    def __init__(self, in_channels: int = 3, widths: Sequence[int] = (24, 24, 56, 112, 216, 24)) -> None:
        super().__init__()
        from monai.networks.nets import BasicUNet

        self.in_channels = in_channels
        self.net = BasicUNet(2, in_channels, in_channels, widths, norm="batch")

    def forward(self, x: Tensor) -> Tensor:
        """Return the restored picture."""
        return self.net(x) + x
