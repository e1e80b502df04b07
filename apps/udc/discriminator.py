"""The discriminator that MPGNet is trained against: one verdict for each pixel."""

from __future__ import annotations

import warnings

import torch.nn.functional as F
from torch import Tensor, nn


class PixelDiscriminator(nn.Module):
    """A U-Net with spectral norm (Wang et al. 2021, Real-ESRGAN, sec. 3.3).

    Args:
        in_channels: channels of both pictures together.
        dim: channels at full resolution.
    Shape: (N, in_channels, H, W), multiples of 8 -> logits (N, 1, H, W).
    """

    def __init__(self, in_channels: int = 6, dim: int = 64) -> None:
        super().__init__()
        self.entry = nn.Conv2d(in_channels, dim, 3, padding=1)
        self.down = nn.ModuleList(_normed(dim * 2**i, dim * 2 ** (i + 1), 4, 2) for i in range(3))
        self.up = nn.ModuleList(_normed(dim * 2 ** (i + 1), dim * 2**i, 3) for i in (2, 1, 0))
        self.last = nn.ModuleList(_normed(dim, dim, 3) for _ in range(2))
        self.head = nn.Conv2d(dim, 1, 3, padding=1)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return how real each pixel looks."""
        levels = [F.leaky_relu(self.entry(x), 0.2)]
        for conv in self.down:
            levels.append(F.leaky_relu(conv(levels[-1]), 0.2))
        x = levels.pop()
        for conv in self.up:
            finer = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = F.leaky_relu(conv(finer), 0.2) + levels.pop()
        for conv in self.last:
            x = F.leaky_relu(conv(x), 0.2)
        return self.head(x)


def _normed(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Module:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, 1, bias=False)
    with warnings.catch_warnings():
        # The newer form iterates in another order, so that what is learnt from the same start differs.
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.spectral_norm(conv)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.trunc_normal_(getattr(module, "weight_orig", module.weight), std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
