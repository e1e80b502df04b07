"""Subspace attention: each group of channels has its own map of where to look."""

import torch
from torch import Tensor, nn

from ..blocks.dimensions import BATCH_NORMS, CONVOLUTIONS, MAX_POOLS


class SubspaceAttention(nn.Module):
    """Adds to each group of channels its own, weighted by one attention map (Saini et al. 2020, ULSAM, sec. 3).

    In each group: a factor and bias for each channel, batch norm, ReLU, maximum over 3x3 positions, one channel of
    them, batch norm, ReLU, softmax over all positions; then x weights + x. arXiv 2006.15102. All groups are computed at
    once. A group whose last ReLU gives zero everywhere has uniform weights.

    Args:
        dim: channels in and out.
        subspaces: groups of neighbouring channels; must divide `dim`.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-first, (N, C, H, W) -> (N, C, H, W), or the same with depth. Any size.

    Raises:
        ValueError: the groups do not divide the channels.
    """

    def __init__(self, dim: int, subspaces: int = 4, spatial_dims: int = 2) -> None:
        super().__init__()
        if dim % subspaces:
            raise ValueError(f"{subspaces} subspaces do not divide {dim} channels")
        convolution, norm = CONVOLUTIONS[spatial_dims], BATCH_NORMS[spatial_dims]
        self.subspaces = subspaces
        self.scale = convolution(dim, dim, 1, groups=dim)
        self.scale_norm = norm(dim, momentum=0.9)
        self.pool = MAX_POOLS[spatial_dims](3, stride=1, padding=1)
        self.score = convolution(dim, subspaces, 1, groups=subspaces)
        self.score_norm = norm(subspaces, momentum=0.9)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with what its groups look at added."""
        pooled = self.pool(torch.relu(self.scale_norm(self.scale(x))))
        weights = torch.softmax(torch.relu(self.score_norm(self.score(pooled))).flatten(2), 2).unsqueeze(2)
        groups = x.flatten(2).unflatten(1, (self.subspaces, x.shape[1] // self.subspaces))
        return torch.addcmul(groups, groups, weights).flatten(1, 2).view_as(x)
