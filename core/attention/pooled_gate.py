"""A gate for each channel from what is pooled over all positions, equally or by attention."""

from typing import Literal

import torch
from torch import Tensor, nn

from ..blocks.dimensions import CONVOLUTIONS
from ..blocks.linear import Linear

Pooling = Literal["softmax", "sum", "mean_and_max"]


class PooledChannelGate(nn.Module):
    """Weights channels by what is pooled over positions: x sigmoid(sum of W2 relu(W1 p) over the pooled vectors p).

    The defaults are the block ACA in the figure of DWFormer (Zhou et al. 2022); "mean_and_max" with biases is the
    channel half of CBAM (Woo et al. 2018, arXiv 1807.06521, eq. 2).

    Args:
        dim: channels.
        reduction: divides the channels between the gate's two layers.
        pooling: "softmax" pools by attention, a softmax over positions of a 1x1 convolution; "sum" adds all positions,
            as DWFormer's code does, so that the gates depend on the size of the map; "mean_and_max" takes two vectors.
        bias: give the two layers biases.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (N, C, H, W) -> (N, C, H, W), or the same with depth.
    """

    def __init__(
        self,
        dim: int,
        reduction: int = 1,
        pooling: Pooling = "softmax",
        bias: bool = False,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        if pooling not in ("softmax", "sum", "mean_and_max"):
            raise ValueError(f"pooling must be 'softmax', 'sum' or 'mean_and_max', not {pooling!r}")
        self.pooling = pooling
        self.score = CONVOLUTIONS[spatial_dims](dim, 1, 1) if pooling == "softmax" else None
        self.squeeze = Linear(dim, dim // reduction, bias)
        self.excite = Linear(dim // reduction, dim, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        logits = self.excite(torch.relu(self.squeeze(self.pooled(x)))).sum(1)
        return weigh_channels(x, torch.sigmoid(logits))

    def pooled(self, x: Tensor) -> Tensor:
        """Return the pooled vectors, (N, 1, C), or (N, 2, C) for mean and maximum."""
        score = self.score
        if score is not None:
            return pooled_by(x, score(x)).unsqueeze(1)
        if self.pooling == "sum":
            return x.sum(list(range(2, x.dim()))).unsqueeze(1)
        return torch.stack([x.mean(list(range(2, x.dim()))), largest(x.flatten(2), 2)], 1)


def largest(x: Tensor, axis: int) -> Tensor:
    """Return the maximum along an axis; of equal ones a single one gets the gradient, as with maximum pooling."""
    return x.max(axis)[0] if x.requires_grad else x.amax(axis)  # `amax` alone is faster, its gradient slower


def pooled_by(x: Tensor, score: Tensor) -> Tensor:
    """Return the mean over positions weighted by the softmax of their scores: (N, C, *) and (N, 1, *) -> (N, C)."""
    weights = torch.softmax(score.flatten(1), 1)
    return torch.matmul(x.flatten(2), weights.unsqueeze(2)).squeeze(2)


def weigh_channels(x: Tensor, gate: Tensor) -> Tensor:
    """Return (N, C, *) times a gate (N, C)."""
    return x * gate.view([gate.shape[0], gate.shape[1]] + [1] * (x.dim() - 2))
