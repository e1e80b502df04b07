"""MONAI's SwinUNETR: attention in shifted windows on the way down, convolutions on the way up.

Hatamizadeh et al.: "Swin UNETR: Swin Transformers for Semantic Segmentation of Brain Tumors in MRI Images", BrainLes
2021, arXiv 2201.01266.
"""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks import nets
from torch import Tensor, nn


class SwinUNETR(nn.Module):
    """The network.

    Args:
        num_classes: background and further classes.
        in_channels: channels of the image.
        dim: channels at half the image's size; a multiple of 12.
        depths: attention blocks of each stage.
        heads: attention heads of each stage.
        window: tokens along a side of an attention window.
        drop_path: rate of stochastic depth, in training.
        checkpointing: compute the attention again in the backward pass instead of keeping it: less memory, more time.
    Shape: (B, in_channels, D, H, W), sizes that are multiples of 32, at least one of them 64 -> logits
        (B, num_classes, D, H, W).

    Attributes:
        fixed_tile: its windows are worked out outside the program that is exported, for one size.
        scriptable: MONAI's code is none that TorchScript can compile.

    Raises:
        ValueError: in the constructor and `forward`, options or sizes that do not fit.
    """

    size_multiple = 32
    fixed_tile = True
    scriptable = False

    def __init__(
        self,
        num_classes: int = 2,
        in_channels: int = 1,
        dim: int = 48,
        depths: Sequence[int] = (2, 2, 2, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        window: int = 7,
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.net = nets.SwinUNETR(
            in_channels,
            num_classes,
            depths=depths,
            num_heads=heads,
            window_size=window,
            feature_size=dim,
            dropout_path_rate=drop_path,
            use_checkpoint=checkpointing,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.net(x)
