"""A gate for each channel from one vector pooled over all positions, equally or by attention."""

from typing import Literal

import torch
from torch import Tensor, nn

Pooling = Literal["softmax", "sum"]


class PooledChannelGate(nn.Module):
    """Weights channels by what is pooled over positions (Zhou et al. 2022, DWFormer, the block ACA of the figure).

    Args:
        dim: channels.
        reduction: divides the channels between the gate's two layers.
        pooling: "softmax" pools by attention, a softmax over positions of a 1x1 convolution; "sum" adds all positions,
            as the authors' code does, so that the gates depend on the size of the map.
    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, dim: int, reduction: int = 1, pooling: Pooling = "softmax") -> None:
        super().__init__()
        if pooling not in ("softmax", "sum"):
            raise ValueError(f"pooling must be 'softmax' or 'sum', not {pooling!r}")
        self.score = nn.Conv2d(dim, 1, 1) if pooling == "softmax" else None
        self.squeeze = nn.Linear(dim, dim // reduction, bias=False)
        self.excite = nn.Linear(dim // reduction, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(self.pooled(x)))))
        return x * gate[:, :, None, None]

    def pooled(self, x: Tensor) -> Tensor:
        """Return the pooled vector, (N, C)."""
        score = self.score
        if score is None:
            return x.sum((2, 3))
        weights = torch.softmax(score(x).flatten(1), 1)
        return torch.matmul(x.flatten(2), weights[:, :, None])[:, :, 0]
