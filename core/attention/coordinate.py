"""Coordinate attention: a gate for each channel and row, one for each channel and column."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CoordinateAttention(nn.Module):
    """Gates along each axis from the means over the others (Hou et al. 2021, arXiv 2103.02907, sec. 3.2).

    The means of all axes pass one narrow layer together, then a layer for each axis. Every position is weighted by the
    product of its axes' gates.

    Args:
        dim: channels in and out.
        hidden: channels of the narrow layer; the authors' choice where None, dim / 32 and at least 8.
        bias: give the pointwise layers biases, as the authors do; timm does not.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-first, (N, C, H, W) -> (N, C, H, W), or the same with depth. Any size.
    """

    def __init__(self, dim: int, hidden: int | None = None, bias: bool = True, spatial_dims: int = 2) -> None:
        super().__init__()
        hidden = hidden or max(8, dim // 32)
        self.squeeze = nn.Conv1d(dim, hidden, 1, bias=bias)
        self.norm = nn.BatchNorm1d(hidden)
        self.excite = nn.ModuleList(nn.Conv1d(hidden, dim, 1, bias=bias) for _ in range(spatial_dims))

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        means = axis_means(x)
        lengths = list(x.shape[2:])
        parts = F.hardswish(self.norm(self.squeeze(torch.cat(means, 2)))).split(lengths, 2)
        gates = [torch.sigmoid(excite(parts[axis])) for axis, excite in enumerate(self.excite)]
        return weigh_along_axes(x, gates)


def axis_means(x: Tensor) -> list[Tensor]:
    """Return for each spatial axis of (N, C, *spatial) the mean over the others, (N, C, length)."""
    means: list[Tensor] = []
    for axis in range(2, x.dim()):
        means.append(x.mean(list(range(2, axis)) + list(range(axis + 1, x.dim()))))
    return means


def weigh_along_axes(x: Tensor, gates: list[Tensor]) -> Tensor:
    """Return (N, C, *spatial) times the gates of each axis, (N, C, length)."""
    for axis, gate in enumerate(gates):
        shape = [gate.shape[0], gate.shape[1]] + [1] * (x.dim() - 2)
        shape[2 + axis] = gate.shape[2]
        x = x * gate.view(shape)
    return x
