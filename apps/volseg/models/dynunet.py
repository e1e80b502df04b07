"""MONAI's DynUNet, the U-Net of nnU-Net, with kernels and strides planned from patch and spacing.

Isensee et al.: "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation", Nature
Methods 2021.

Shapes: B batch, C channels, D H W depth, height and width, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from monai.networks import nets
from torch import Tensor, nn

Sizes = tuple[int, int, int]


class DynUNet(nn.Module):
    """The network: plain convolutions with instance norm; what is coarse is halved later, by flat kernels first.

    Args:
        num_classes: background and further classes.
        in_channels: channels of the image.
        patch: voxels along depth, height and width of what it is trained on.
        spacing: millimetres between voxels along depth, height and width; only their ratios matter.
        dim: channels at the image's size; each halving doubles them.
        max_dim: channels at most.
        supervised: resolutions that are predicted in training; None for all but the lowest two.
    Shape: (B, in_channels, D, H, W), sizes that are multiples of `size_multiple` -> logits (B, num_classes, D, H, W).
        In training, for several supervised resolutions, a list of the logits of each, the finest first.

    Raises:
        ValueError: a patch that is too small to be halved twice, or more supervised resolutions than there are.
    """

    def __init__(
        self,
        num_classes: int = 2,
        in_channels: int = 1,
        patch: Sizes = (128, 128, 128),
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        dim: int = 32,
        max_dim: int = 320,
        supervised: int | None = None,
    ) -> None:
        super().__init__()
        kernels, strides = planned(patch, spacing)
        steps = len(strides) - 1
        if steps < 2:
            raise ValueError(
                f"a patch of {tuple(patch)} voxels is too small for DynUNet, which halves it twice or more"
            )
        levels = max(1, steps - 1) if supervised is None else supervised
        if not 1 <= levels <= steps:
            raise ValueError(f"supervised must be 1 to {steps} for a patch of {tuple(patch)} voxels, not {supervised}")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.size_multiple = tuple(math.prod(stride[axis] for stride in strides) for axis in range(3))
        filters = [min(dim << i, max_dim) for i in range(steps + 1)]
        # Its parts alone are kept: its own forward resizes all predictions to the image's and holds on to them.
        net = nets.DynUNet(
            3,
            in_channels,
            num_classes,
            kernels,
            strides,
            strides[1:],
            filters=filters,
            deep_supervision=levels > 1,
            deep_supr_num=max(1, levels - 1),
        )
        self.encoder = nn.ModuleList([net.input_block, *net.downsamples])
        self.bottleneck = net.bottleneck
        self.decoder = net.upsamples
        self.heads = nn.ModuleList([net.output_block, *(net.deep_supervision_heads if levels > 1 else [])])

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return the logits; in training also those of lower resolutions, the finest first."""
        skips: list[Tensor] = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        x = self.bottleneck(x)
        raised: list[Tensor] = []
        for block in self.decoder:
            x = block(x, skips.pop())
            raised.insert(0, x)
        if not self.training:
            return self.heads[0](x)
        logits: list[Tensor] = []
        for i, head in enumerate(self.heads):
            logits.append(head(raised[i]))
        if len(logits) == 1:
            return logits[0]
        return logits


def planned(patch: Sequence[int], spacing: Sequence[float], smallest: int = 4) -> tuple[list[Sizes], list[Sizes]]:
    """Return the kernels and strides of each stage by nnU-Net's rule; the last is the bottleneck's.

    An axis is halved while it leaves `smallest` voxels, and only where its spacing is below twice the finest of those
    that can be halved. Kernels are flat across an axis until its spacing has come within twice the finest, then 3.

    Args:
        patch: voxels along each of three axes.
        spacing: distance between voxels along each axis.
        smallest: voxels that must remain.
    """
    sizes, steps, kernel = list(patch), list(spacing), [1, 1, 1]
    kernels: list[Sizes] = []
    strides: list[Sizes] = [(1, 1, 1)]
    while halved := _halved(sizes, steps, smallest):
        kernel = [3 if steps[axis] < 2 * min(steps) else kernel[axis] for axis in range(3)]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if axis in halved else 1 for axis in range(3)))
        for axis in halved:
            sizes[axis], steps[axis] = -(-sizes[axis] // 2), 2 * steps[axis]
    return [*kernels, (3, 3, 3)], strides


def _halved(sizes: Sequence[int], steps: Sequence[float], smallest: int) -> list[int]:
    """Return the axes that are halved next; a single one must leave half as much again."""
    large = [axis for axis in range(3) if sizes[axis] >= 2 * smallest]
    fine = [axis for axis in large if steps[axis] < 2 * min(steps[axis] for axis in large)]
    return [] if len(fine) == 1 and sizes[fine[0]] < 3 * smallest else fine
