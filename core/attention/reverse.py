"""Reverse attention: a coarse prediction is refined where it does not see its object yet."""

import torch
from torch import Tensor, nn

from ..blocks.convolution import ConvNorm
from ..blocks.dimensions import BATCH_NORMS, CONVOLUTIONS
from ..blocks.resampling import linear_resize


class ReverseAttention(nn.Module):
    """Erases what a coarser map is sure of from the features and predicts the rest (Fan et al. 2020, PraNet, sec. 2.3).

    The features are weighted by the coarser map's probability of background: 1 - sigmoid of one logit, as published,
    or the first of several exclusive classes.

    Args:
        in_channels: channels of the features.
        num_classes: channels of the maps: 1, or background and further classes.
        dim: channels inside.
        kernel: side of the inner convolutions, pixels.
        depth: inner convolutions.
        last_kernel: side of the last convolution, pixels.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: features (N, in_channels, H, W), coarser logits (N, num_classes, h, w) -> logits (N, num_classes, H, W), or
        the same with depth.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int = 1,
        dim: int = 64,
        kernel: int = 3,
        depth: int = 2,
        last_kernel: int = 3,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        self.reduce = CONVOLUTIONS[spatial_dims](in_channels, dim, 1, bias=False)
        self.norm = BATCH_NORMS[spatial_dims](dim)
        self.inner = nn.Sequential(
            *(
                layer
                for _ in range(depth)
                for layer in (ConvNorm(dim, dim, kernel, spatial_dims=spatial_dims), nn.ReLU(inplace=True))
            )
        )
        self.last = ConvNorm(dim, num_classes, last_kernel, spatial_dims=spatial_dims)

    def forward(self, features: Tensor, coarse: Tensor) -> Tensor:
        """Return the refined logits."""
        guide = linear_resize(coarse, features.shape[2:])
        # A weight per position commutes with a convolution of 1x1, after which there are fewer channels to weight.
        rest = self.norm(self.reduce(features) * background(guide))
        return self.last(self.inner(rest)) + guide

    def position_gate(self, features: Tensor, coarse: Tensor) -> Tensor:
        """Return the weight of each position of the features, (N, 1, H, W) or with depth."""
        return background(linear_resize(coarse, features.shape[2:]))


def background(logits: Tensor) -> Tensor:
    """Return the probability of background, (N, 1, *spatial), from one logit or from those of exclusive classes."""
    if logits.shape[1] == 1:
        return torch.sigmoid(-logits)
    return logits.softmax(dim=1)[:, :1]
