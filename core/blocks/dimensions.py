"""Layers for maps (2 spatial axes) and volumes (3), some for lines (1), chosen by the number of axes."""

from torch import nn

from .norm import BatchNorm2d, BatchNorm3d, InstanceNorm2d, InstanceNorm3d

CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}
MAX_POOLS: dict[int, type[nn.MaxPool2d] | type[nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
BATCH_NORMS: dict[int, type[BatchNorm2d] | type[BatchNorm3d]] = {2: BatchNorm2d, 3: BatchNorm3d}
INSTANCE_NORMS: dict[int, type[InstanceNorm2d] | type[InstanceNorm3d]] = {2: InstanceNorm2d, 3: InstanceNorm3d}
MEAN_POOLS: dict[int, type[nn.AvgPool2d] | type[nn.AvgPool3d]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
ADAPTIVE_MEANS: dict[int, type[nn.AdaptiveAvgPool2d] | type[nn.AdaptiveAvgPool3d]] = {
    2: nn.AdaptiveAvgPool2d,
    3: nn.AdaptiveAvgPool3d,
}
