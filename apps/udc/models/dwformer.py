"""DWFormer: restores pictures taken through a display, by a U-Net of depth-wise blocks with channel gates.

Zhou, Song, Du: "Modular Degradation Simulation and Restoration for Under-Display Camera", ACCV 2022, arXiv 2209.11455.

Shapes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....core.attention.pooled_gate import PooledChannelGate, Pooling
from ....core.blocks.norm import BatchNorm2d


class NormedPointwise(nn.Module):
    """Batch norm, then a 1x1 convolution; one convolution where the norm's statistics are fixed.

    Args:
        in_channels: channels in.
        out_channels: channels out.
    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed channels."""
        mean, variance, bias = self.norm.running_mean, self.norm.running_var, self.conv.bias
        if self.norm.training or mean is None or variance is None or bias is None:
            return self.conv(self.norm(x))
        scale = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
        shift = self.norm.bias - mean * scale
        weight = self.conv.weight[:, :, 0, 0]
        return F.conv2d(x, (weight * scale)[:, :, None, None], bias + weight @ shift)


class DepthwiseBlock(nn.Module):
    """Mixes positions by a depth-wise convolution and channels by a gate, then a perceptron; both added to the map.

    Args:
        dim: channels.
        mlp_ratio: hidden channels of the perceptron, as a multiple of `dim`.
        reduction: divides the channels between the gate's two layers.
        pooling: how the gate pools, see `PooledChannelGate`.
    Shape: (N, C, H, W), sides of at least 3 -> the same.
    """

    def __init__(self, dim: int, mlp_ratio: int, reduction: int, pooling: Pooling) -> None:
        super().__init__()
        self.project_in = NormedPointwise(dim, dim)
        self.depthwise = nn.Conv2d(dim, dim, 5, padding=2, groups=dim, padding_mode="reflect")
        self.gate = PooledChannelGate(dim, reduction, pooling)
        self.project_out = nn.Conv2d(dim, dim, 1)
        self.expand = NormedPointwise(dim, mlp_ratio * dim)
        self.reduce = nn.Conv2d(mlp_ratio * dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map after both steps."""
        x = x + self.project_out(self.gate(torch.relu_(self.depthwise(self.project_in(x)))))
        return x + self.reduce(torch.relu_(self.expand(x)))


class Up(nn.Module):
    """Doubles the size and joins the skip connection.

    Args:
        dim: channels in.
        out: channels out and of the skip connection.
    Shape: (N, dim, H, W), (N, out, 2H, 2W) -> (N, out, 2H, 2W).
    """

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(dim, 4 * out, 1)
        self.fuse = nn.Conv2d(2 * out, out, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return the joined map."""
        return torch.relu_(self.fuse(torch.cat([F.pixel_shuffle(self.spread(x), 2), skip], dim=1)))


class DWFormer(nn.Module):
    """The network (Zhou et al. 2022, fig. 3). The defaults are the published ones, but for the pooling.

    The authors' code pools by a plain sum, as its softmax runs over an axis of length 1; the figure draws a softmax
    over positions. Gates of a sum depend on the size of the picture, so that a network trained on patches changes on
    whole pictures; the softmax is free of that and the default here.

    Args:
        in_channels: channels of the picture, in 0..1.
        widths: channels of the five stages; the fourth equals the second and the fifth the first.
        mlp_ratios: hidden channels of each stage's perceptrons, as a multiple of its channels.
        depths: blocks of each stage.
        reduction: divides the channels between the two layers of a gate.
        pooling: "softmax", or "sum" as in the authors' code.
    Shape: (N, in_channels, H, W), multiples of 4, at least 12 -> the same, not clipped.

    Raises:
        ValueError: options that do not fit together.
    """

    size_multiple = 4
    smallest_size = 12  # a quarter of it can be reflected by 2
    scale = 1

    def __init__(
        self,
        in_channels: int = 3,
        widths: Sequence[int] = (24, 48, 96, 48, 24),
        mlp_ratios: Sequence[int] = (2, 4, 4, 2, 2),
        depths: Sequence[int] = (8, 8, 8, 6, 6),
        reduction: int = 1,
        pooling: Pooling = "softmax",
    ) -> None:
        super().__init__()
        if not len(widths) == len(mlp_ratios) == len(depths) == 5 or tuple(widths[3:]) != (widths[1], widths[0]):
            raise ValueError(f"five stages are needed, the last two as wide as the second and first: {widths}")
        self.in_channels = in_channels
        a, b, c = widths[0], widths[1], widths[2]
        self.stem = nn.Conv2d(in_channels, a, 3, padding=1)
        self.stages = nn.ModuleList(
            nn.Sequential(*(DepthwiseBlock(dim, ratio, reduction, pooling) for _ in range(depth)))
            for dim, ratio, depth in zip(widths, mlp_ratios, depths, strict=True)
        )
        self.downs = nn.ModuleList([nn.Conv2d(a, b, 2, 2), nn.Conv2d(b, c, 2, 2)])
        self.ups = nn.ModuleList([Up(c, b), Up(b, a)])
        self.head = nn.Conv2d(a, in_channels, 3, padding=1, padding_mode="reflect")
        self.stages.apply(_initialise(sum(depths)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the restored picture."""
        fine = self.stages[0](self.stem(x))
        middle = self.stages[1](self.downs[0](fine))
        coarse = self.stages[2](self.downs[1](middle))
        middle = self.stages[3](self.ups[0](coarse, middle))
        fine = self.stages[4](self.ups[1](middle, fine))
        return self.head(fine) + x


def _initialise(blocks: int):  # noqa: ANN202
    """Return what starts the layers of blocks so that many of them in a row keep the scale."""

    def start(module: nn.Module) -> None:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            positions = module.weight[0, 0].numel()
            fan_in, fan_out = module.weight[0].numel(), module.weight.shape[0] * positions
            std = (8 * blocks) ** -0.25 * math.sqrt(2 / (fan_in + fan_out))
            nn.init.trunc_normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    return start
