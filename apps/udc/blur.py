"""How a display spreads light (MPGNet, the blur module)."""

import torch
from torch import Tensor, nn

from ...core.blocks.convolution import normed
from ...core.blocks.norm import BatchNorm2d


class ResidualConv(nn.Module):
    """Adds one normalised convolution to the map, without activation, as the authors' code does.

    Args:
        dim: channels.
    Shape: (N, C, H, W) -> the same.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, padding_mode="reflect", bias=False)
        self.norm = BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.norm(self.conv(x))


class Blur(nn.Module):
    """A picture and what a residual generator adds to it, clipped to 0..1 (Zhou et al. 2022, MPGNet).

    Args:
        dim: channels at full resolution; twice and four times as many at a half and a quarter of it.
        depth: residual convolutions at a quarter.
    Shape: (N, 3, H, W), multiples of 4 from 8 -> the same.
    """

    def __init__(self, dim: int = 64, depth: int = 9) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *normed(nn.Conv2d(3, dim, 7, padding=3, padding_mode="reflect", bias=False)),
            *normed(nn.Conv2d(dim, 2 * dim, 3, 2, 1, bias=False)),
            *normed(nn.Conv2d(2 * dim, 4 * dim, 3, 2, 1, bias=False)),
            *(ResidualConv(4 * dim) for _ in range(depth)),
            *normed(nn.ConvTranspose2d(4 * dim, 2 * dim, 3, 2, 1, output_padding=1, bias=False)),
            *normed(nn.ConvTranspose2d(2 * dim, dim, 3, 2, 1, output_padding=1, bias=False)),
            nn.Conv2d(dim, 3, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the blurred picture."""
        return torch.clamp(x + self.layers(x), 0, 1)
