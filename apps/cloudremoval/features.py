"""What PMAA sees in one date: features, a mask of clear sky and an auxiliary image.

Zou, Li, Xing, Tao, Cui: "PMAA: A Progressive Multi-scale Attention Autoencoder Model for High-performance Cloud Removal
from Multi-temporal Satellite Imagery", ECAI 2023, arXiv 2303.16565. The extractor descends from CTGAN (Huang and Wu,
ICIP 2022), the pyramid from DeepLab v3 (Chen et al. 2017).

Shapes: N batch, B bands, C channels, H W pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.blocks.norm import BatchNorm2d, InstanceNorm2d

Norm = Literal["instance", "batch"]

RATES = (12, 24, 36)
"""Dilations of the pyramid, in pixels."""


def normalisation(norm: Norm, dim: int) -> nn.Module:
    """Return instance norm without parameters, as the generator has it, or batch norm, as the teacher has it.

    Raises:
        ValueError: another word.
    """
    if norm not in ("instance", "batch"):
        raise ValueError(f"norm must be instance or batch, not {norm!r}")
    return InstanceNorm2d(dim) if norm == "instance" else BatchNorm2d(dim)


def unit(
    in_channels: int, out_channels: int, norm: Norm, kernel: int = 1, dilation: int = 1, bias: bool = False
) -> list[nn.Module]:
    """Return a convolution that keeps the size, its norm and a ReLU."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=bias)
    return [conv, normalisation(norm, out_channels), nn.ReLU(inplace=True)]


def bottleneck(dim: int, norm: Norm) -> nn.Sequential:
    """Return the body of a residual block: 1x1, dilated 3x3, 1x1. Shape: (N, dim, H, W) -> (N, dim, H, W)."""
    return nn.Sequential(*unit(dim, dim, norm), *unit(dim, dim, norm, kernel=3, dilation=2), *unit(dim, dim, norm))


def mask_head(dim: int, norm: Norm) -> nn.Sequential:
    """Return the head that weighs each pixel: near 0 on cloud, near 1 on clear ground.

    Shape: (N, dim, H, W) -> (N, 1, H, W) in 0..1.
    """
    return nn.Sequential(
        *unit(dim, 2 * dim, norm, bias=True),
        *unit(2 * dim, 4 * dim, norm, bias=True),
        nn.Conv2d(4 * dim, 1, 1),
        nn.Sigmoid(),
    )


class AtrousPyramid(nn.Module):
    """Five views of growing reach side by side, the last of the whole map, made one (Chen et al. 2017, sec. 3.3).

    Instance norm after the common convolution erases the view of the whole map, which is constant. It is kept, as
    published weights hold it and as it works with batch norm.

    Args:
        dim: channels in and out; each view has four times as many.
        norm: "instance", which leaves the view of the whole map without norm, or "batch".
        dropout: probability of a value to be dropped in training.
    Shape: (N, dim, H, W) -> (N, dim, H, W).
    """

    def __init__(self, dim: int, norm: Norm, dropout: float = 0.1) -> None:
        super().__init__()
        width = 4 * dim
        near = nn.Sequential(*unit(dim, width, norm))
        far = [nn.Sequential(*unit(dim, width, norm, kernel=3, dilation=rate)) for rate in RATES]
        self.branches = nn.ModuleList([near, *far])
        conv, each_norm, relu = unit(dim, width, norm)
        self.whole = nn.Sequential(conv, relu) if norm == "instance" else nn.Sequential(conv, each_norm, relu)
        self.project = nn.Sequential(*unit(width * (len(RATES) + 2), dim, norm), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """Return the map that knows its surroundings."""
        # The common convolution of the views side by side, a view at a time: together they are twenty times the input.
        parts = self.project[0].weight.chunk(len(self.branches) + 1, dim=1)
        total = F.conv2d(self.whole(x.mean(dim=(2, 3), keepdim=True)), parts[-1])
        for i, branch in enumerate(self.branches):
            total = total + F.conv2d(branch(x), parts[i])
        return self.project[3](self.project[2](self.project[1](total)))


class FeatureExtractor(nn.Module):
    """Features of one date, in which clouds count little: a mask scales what each block adds (fig. 2 of the paper).

    Args:
        bands: bands of the date.
        dim: channels of the features.
        norm: "instance" in the generator, "batch" in the teacher.
        dropout: probability of a value of the features to be dropped in training.
    Shape: (N, bands, H, W) in -1..1 -> mask (N, 1, H, W) in 0..1, features (N, dim, H, W), auxiliary image
        (N, bands, H, W) in -1..1.

    Raises:
        ValueError: an unknown norm.
    """

    def __init__(self, bands: int = 4, dim: int = 32, norm: Norm = "instance", dropout: float = 0.1) -> None:
        super().__init__()
        self.stem = nn.Sequential(*unit(bands, dim, norm, kernel=3))
        self.bottlenecks = nn.ModuleList(bottleneck(dim, norm) for _ in range(6))
        self.mask = mask_head(dim, norm)
        self.pyramid = AtrousPyramid(dim, norm, dropout)
        self.auxiliary = nn.Conv2d(dim, bands, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mask, features and auxiliary image."""
        y = self.stem(x)
        y = F.relu(self.bottlenecks[0](y) + y, inplace=True)
        mask = self.mask(y)
        y = F.relu(torch.addcmul(y, self.bottlenecks[1](y), mask), inplace=True)
        y = F.relu(torch.addcmul(y, self.bottlenecks[2](y), mask), inplace=True)
        mask = self.mask(y)
        y = F.relu(torch.addcmul(y, self.bottlenecks[3](y), mask), inplace=True)
        y = F.relu(torch.addcmul(y, self.bottlenecks[4](y), mask), inplace=True)
        features = self.pyramid(F.relu(self.bottlenecks[5](y) + y, inplace=True))
        return mask, features, torch.tanh(self.auxiliary(features))
