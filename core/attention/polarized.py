"""Polarized self-attention: one gate for each channel and one for each position, each from the whole map."""

import torch
from torch import Tensor, nn

from ..blocks.dimensions import CONVOLUTIONS
from ..blocks.linear import Linear
from .pooled_gate import pooled_by, weigh_channels

# N images, C channels, M = C / 2 channels inside, L positions


class PolarizedAttention(nn.Module):
    """Both gates side by side or one after the other (Liu et al. 2021, arXiv 2107.00782, sec. 3).

    The softmax stands where the authors' code has it. The pointwise values of the channel gate are taken after pooling
    and, side by side, those of the positions from the query, so that both cost one vector and not a map; exact.

    Args:
        dim: channels in and out, even; a multiple of 8 for `sequential`.
        sequential: the form with a gate for the channels, then one for the positions; else their sum.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-first, (N, C, H, W) -> (N, C, H, W), or the same with depth. Any size.
    """

    def __init__(self, dim: int, sequential: bool = False, spatial_dims: int = 2) -> None:
        super().__init__()
        self.sequential = sequential
        self.channels = PolarizedChannelGate(dim, sequential, spatial_dims)
        self.positions = PolarizedSpatialGate(dim, sequential)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        by_channel = self.channels(x)
        return self.positions(by_channel) if self.sequential else by_channel + self.positions(x)


class PolarizedChannelGate(nn.Module):
    """Weights channels by what attention pools over positions.

    Args:
        dim: channels.
        deep: expand by two layers with layer norm and ReLU between them, else by one.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (N, C, H, W) -> (N, C, H, W), or the same with depth.
    """

    def __init__(self, dim: int, deep: bool = False, spatial_dims: int = 2) -> None:
        super().__init__()
        inside = dim // 2
        self.score = CONVOLUTIONS[spatial_dims](dim, 1, 1, bias=False)
        self.value = Linear(dim, inside, bias=False)
        narrow = inside // 4
        self.expand = (
            nn.Sequential(Linear(inside, narrow), nn.LayerNorm(narrow), nn.ReLU(), Linear(narrow, dim))
            if deep
            else Linear(inside, dim, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        return weigh_channels(x, torch.sigmoid(self.expand(self.value(pooled_by(x, self.score(x))))))


class PolarizedSpatialGate(nn.Module):
    """Weights positions by how their values agree with the mean query: sigmoid(softmax(g v)) or sigmoid(g softmax(v)).

    Args:
        dim: channels.
        value_softmax: take the softmax over positions of each channel of the values, else of the product.
    Shape: (N, C, H, W) -> (N, C, H, W), or the same with depth.
    """

    def __init__(self, dim: int, value_softmax: bool = False) -> None:
        super().__init__()
        self.value_softmax = value_softmax
        self.query = Linear(dim, dim // 2, bias=False)
        self.value = Linear(dim, dim // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        return x * self.position_gate(x)

    def position_gate(self, x: Tensor) -> Tensor:
        """Return the weight of each position, (N, 1, H, W) or with depth."""
        map_NCL = x.flatten(2)
        query_NM = self.query(map_NCL.mean(2))
        if self.value_softmax:
            values_NML = torch.matmul(self.value.weight, map_NCL)
            score_N1L = torch.matmul(query_NM.unsqueeze(1), torch.softmax(values_NML, 2))
        else:
            direction_NC = torch.matmul(query_NM, self.value.weight)
            score_N1L = torch.softmax(torch.matmul(direction_NC.unsqueeze(1), map_NCL), 2)
        return torch.sigmoid(score_N1L).view_as(x[:, :1])
