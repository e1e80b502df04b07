"""Convolutional block attention: first which channels matter, then where."""

import torch
from torch import Tensor, nn

from ..blocks.convolution import ConvNorm
from .pooled_gate import PooledChannelGate, largest


class ConvolutionalBlockAttention(nn.Module):
    """CBAM: a gate for each channel, then one for each position (Woo et al. 2018, arXiv 1807.06521, sec. 3).

    timm's form has no biases in the channel gate and gives the spatial one the mean before the maximum: its weights fit
    with `bias=False` and the two input channels of the spatial convolution exchanged.

    Args:
        dim: channels in and out.
        reduction: divides the channels inside the channel gate.
        kernel: side of the spatial gate's convolution in pixels, odd.
        bias: give the layers of the channel gate biases.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-first, (N, C, H, W) -> (N, C, H, W), or the same with depth. Any size.
    """

    def __init__(
        self, dim: int, reduction: int = 16, kernel: int = 7, bias: bool = True, spatial_dims: int = 2
    ) -> None:
        super().__init__()
        self.channels = PooledChannelGate(dim, reduction, "mean_and_max", bias, spatial_dims)
        self.positions = SpatialGate(kernel, spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        return self.positions(self.channels(x))


class SpatialGate(nn.Module):
    """Weights positions by the maximum and mean over their channels: x sigmoid(norm(conv([max, mean]))) (eq. 3).

    Args:
        kernel: side of the convolution in pixels, odd.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (N, C, H, W) -> (N, C, H, W), or the same with depth.
    """

    def __init__(self, kernel: int = 7, spatial_dims: int = 2) -> None:
        super().__init__()
        self.score = ConvNorm(2, 1, kernel, spatial_dims=spatial_dims)
        self.score.norm.momentum = 0.01  # as in the authors' code

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        return x * self.position_gate(x)

    def position_gate(self, x: Tensor) -> Tensor:
        """Return the weight of each position, (N, 1, H, W) or with depth."""
        return torch.sigmoid(self.score(torch.stack([largest(x, 1), x.mean(1)], 1)))
