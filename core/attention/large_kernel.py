"""Large kernel attention: a map is multiplied by what a wide, decomposed convolution sees around each position."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..blocks.dimensions import CONVOLUTIONS


class LargeKernelGate(nn.Module):
    """x times a depth-wise 5, depth-wise dilated 7 and pointwise convolution of it (Guo et al. 2022, VAN, sec. 3.1).

    Together they reach 23 positions; arXiv 2202.09741.

    Args:
        dim: channels in and out.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-first, (N, C, H, W) -> (N, C, H, W), or the same with depth. Any size.
    """

    def __init__(self, dim: int, spatial_dims: int = 2) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[spatial_dims]
        self.local = convolution(dim, dim, 5, padding=2, groups=dim)
        self.wide = convolution(dim, dim, 7, padding=9, dilation=3, groups=dim)
        self.mix = convolution(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        return x * self.mix(self.wide(self.local(x)))


class LargeKernelAttention(nn.Module):
    """x + project(gate(gelu(project x))): VAN's attention, whose residual is inside.

    Args:
        dim: channels in and out.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-first, (N, C, H, W) -> (N, C, H, W), or the same with depth. Any size.
    """

    def __init__(self, dim: int, spatial_dims: int = 2) -> None:
        super().__init__()
        self.project_in = CONVOLUTIONS[spatial_dims](dim, dim, 1)
        self.gate = LargeKernelGate(dim, spatial_dims)
        self.project_out = CONVOLUTIONS[spatial_dims](dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with its gated projection added."""
        return x + self.project_out(self.gate(F.gelu(self.project_in(x))))
