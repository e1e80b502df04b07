"""MPU-Net: a U-Net with attention between all positions at its bottom, gated skips and the mean of four predictions.

Yu, Han, Song: "3D Medical Image Segmentation based on multi-scale MPU-Net", arXiv 2307.05799, in the form of the
authors' code.

Shapes: B batch, C channels, D H W depth, height and width, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ....core.attention.gate import AttentionGate
from ....core.attention.position import PositionAttention
from ....core.blocks.convolution import normed
from ....core.blocks.resampling import linear_resize

SLOPE = 0.25  # of a new PReLU; the initial weights are scaled for it


def convolutions(in_channels: int, dim: int, depth: int) -> nn.Sequential:
    """Return `depth` convolutions of 3x3x3, each with a slope for every channel. The size stays."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Conv3d(dim if i else in_channels, dim, 3, padding=1), nn.PReLU(dim, SLOPE)]
    return nn.Sequential(*layers)


def downsampling(dim: int, halved: bool = True) -> nn.Sequential:
    """Return layers that double the channels and, if wanted, halve the size.

    The steepness of the ELU is its number of channels, which the authors' code hands over in its place: negative values
    come out hundreds of times larger. The published numbers were made with it.
    """
    convolution = nn.Conv3d(dim, 2 * dim, 2, 2) if halved else nn.Conv3d(dim, 2 * dim, 3, padding=1)
    return nn.Sequential(nn.MaxPool3d(3, 1, 1), *normed(convolution, nn.ELU(2.0 * dim)))


def upsampling(dim: int) -> nn.Sequential:
    """Return layers that halve the channels and double the size."""
    return nn.Sequential(nn.ConvTranspose3d(dim, dim // 2, 2, 2), nn.PReLU(dim // 2, SLOPE))


def serialised_attention(in_channels: int, dim: int) -> nn.Sequential:
    """Return the layers at the bottom, "image serialization": every position is a token that sees all others.

    Shape: (B, in_channels, D, H, W) -> (B, dim, D, H, W).
    """
    return nn.Sequential(
        *normed(nn.Conv3d(in_channels, dim, 3, padding=1), nn.PReLU(init=SLOPE)),
        PositionAttention(dim, spatial_dims=3),
        *normed(nn.Conv3d(dim, dim, 3, padding=1), nn.PReLU(init=SLOPE)),
    )


class EncoderStage(nn.Module):
    """Two convolutions beside which the input goes on. Shape: (B, dim, D, H, W) -> the same.

    Args:
        dim: channels.
        drop: dropout of single values, in training.
    """

    def __init__(self, dim: int, drop: float) -> None:
        super().__init__()
        self.convolutions = convolutions(dim, dim, 2)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        return self.drop(self.convolutions(x) + x)


class DecoderStage(nn.Module):
    """Three convolutions of what the encoder saw, added to what came from below and gated by it.

    The gate is the paper's "cross attention".

    Args:
        in_channels: channels of the encoder's map.
        dim: channels of what comes from below, and out.
        drop: dropout of single values, in training.
    Shape: (B, in_channels, D, H, W) and (B, dim, D, H, W) -> (B, dim, D, H, W).
    """

    def __init__(self, in_channels: int, dim: int, drop: float) -> None:
        super().__init__()
        self.convolutions = convolutions(in_channels, dim, 3)
        self.gate = AttentionGate(dim, dim, dim // 2)
        self.drop = nn.Dropout(drop)

    def forward(self, seen: Tensor, below: Tensor) -> Tensor:
        """Return the features."""
        return self.drop(self.gate(self.convolutions(seen) + below, below))


class Side(nn.Module):
    """Probabilities of the classes at the image's size. Shape: (B, dim, D, H, W) -> (B, num_classes, D*f, H*f, W*f).

    Args:
        dim: channels in.
        num_classes: channels out.
        factor: voxels of the image along a side of one of the features.
    """

    def __init__(self, dim: int, num_classes: int, factor: int) -> None:
        super().__init__()
        self.classify = nn.Conv3d(dim, num_classes, 1)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return the probabilities."""
        logits = self.classify(x)
        if self.factor > 1:
            logits = linear_resize(logits, [size * self.factor for size in x.shape[2:]])
        return logits.softmax(1)


class MPUNet(nn.Module):
    """The network (Yu et al. 2023), as in the authors' code. The defaults are those for the CT data LiTS, liver alone.

    It gives probabilities, not logits. Modules that the authors' code builds but never runs are left out. Beside the
    first convolutions goes the image itself; of several channels, which the authors' code cannot take, their mean.

    Args:
        num_classes: background and further classes.
        in_channels: channels of the image.
        dim: channels at the image's size; there are up to 32 times as many below.
        drop: dropout of single values after each stage but the first and last, in training.
    Shape: (B, in_channels, D, H, W), sizes that are multiples of 8 -> probabilities (B, num_classes, D, H, W). In
        training a tuple of these and the predictions from features of 1/8, 1/4 and 1/2 of the size, at the full size;
        the fourth, from features of the full size, is in the mean alone.

    Raises:
        ValueError: in `forward`, sizes that are no multiples.
    """

    size_multiple = 8
    gives_probabilities = True

    def __init__(self, num_classes: int = 2, in_channels: int = 1, dim: int = 16, drop: float = 0.2) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.first = convolutions(in_channels, dim, 2)
        self.downsampling = nn.ModuleList(downsampling(dim << i, halved=i < 3) for i in range(4))
        self.encoder = nn.ModuleList(EncoderStage(dim << i, drop) for i in range(1, 5))
        self.bottom = nn.Sequential(downsampling(16 * dim, halved=False), serialised_attention(32 * dim, 16 * dim))
        self.deepest = DecoderStage(8 * dim, 16 * dim, drop)
        self.upsampling = nn.ModuleList(upsampling(dim << i) for i in (4, 3, 2))
        self.decoder = nn.ModuleList(
            DecoderStage(3 * (dim << i) // 2, dim << i, drop if i > 1 else 0.0) for i in (3, 2, 1)
        )
        self.sides = nn.ModuleList(Side(dim << i, num_classes, 1 << (i - 1)) for i in (4, 3, 2, 1))
        self.apply(_init)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the probabilities; in training also those that are supervised beside them, the deepest first."""
        if x.shape[2] % 8 != 0 or x.shape[3] % 8 != 0 or x.shape[4] % 8 != 0:
            raise ValueError(
                f"MPU-Net needs sizes that are multiples of 8, not {x.shape[2]}, {x.shape[3]}, {x.shape[4]}"
            )
        sides = self.predictions(x)
        mean = (sides[0] + sides[1] + sides[2] + sides[3]) / 4
        if self.training:
            return mean, sides[0], sides[1], sides[2]
        return mean

    def predictions(self, x: Tensor) -> list[Tensor]:
        """Return the probabilities (B, K, D, H, W) of each scale of features, the deepest first."""
        x = self.first(x) + x.mean(1, keepdim=True)
        skips: list[Tensor] = []
        for downsampling, stage in zip(self.downsampling, self.encoder):  # noqa: B905 - TorchScript knows no `strict`
            skips.append(x)
            x = stage(downsampling(x))
        features = [self.deepest(skips.pop(), self.bottom(x))]
        for upsampling, stage in zip(self.upsampling, self.decoder):  # noqa: B905
            raised = upsampling(features[-1])
            features.append(stage(torch.cat([raised, skips.pop()], 1), raised))
        probabilities: list[Tensor] = []
        for i, side in enumerate(self.sides):
            probabilities.append(side(features[i]))
        return probabilities


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        nn.init.zeros_(module.bias)
