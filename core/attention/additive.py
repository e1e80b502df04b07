"""Additive attention made of convolutions: gated queries and keys are added, not multiplied; linear in positions."""

import torch
from torch import Tensor, nn

from ..blocks.convolution import normed
from ..blocks.dimensions import CONVOLUTIONS
from ..blocks.linear import Linear
from .pooled_gate import weigh_channels


class AdditiveAttention(nn.Module):
    """project(mix(gate q + gate k) v) (Zhang et al. 2024, CAS-ViT, arXiv 2408.03703, sec. 3).

    Queries and keys each pass a gate for the positions and one for the channels; mixing and projection are depth-wise
    3x3 convolutions.

    Args:
        dim: channels in and out.
        qkv_bias: let queries, keys and values have biases.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-first, (B, C, H, W) -> (B, C, H, W), or the same with depth. Any size.
    """

    def __init__(self, dim: int, qkv_bias: bool = True, spatial_dims: int = 2) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[spatial_dims]
        self.qkv = convolution(dim, 3 * dim, 1, bias=qkv_bias)
        self.gate_query = nn.Sequential(LocalGate(dim, spatial_dims), MeanGate(dim))
        self.gate_key = nn.Sequential(LocalGate(dim, spatial_dims), MeanGate(dim))
        self.mix = convolution(dim, dim, 3, padding=1, groups=dim)
        self.project = convolution(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map; the residual is the caller's."""
        q, k, v = self.qkv(x).chunk(3, 1)
        return self.project(self.mix(self.gate_query(q) + self.gate_key(k)) * v)


class LocalGate(nn.Module):
    """Weights positions by what surrounds them: x sigmoid(w relu(norm(depth-wise 3x3))).

    Args:
        dim: channels.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (B, C, H, W) -> (B, C, H, W), or the same with depth.
    """

    def __init__(self, dim: int, spatial_dims: int = 2) -> None:
        super().__init__()
        self.score = nn.Sequential(
            *normed(CONVOLUTIONS[spatial_dims](dim, dim, 3, padding=1, groups=dim)),
            CONVOLUTIONS[spatial_dims](dim, 1, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        return x * torch.sigmoid(self.score(x))


class MeanGate(nn.Module):
    """Weights channels by their means: x sigmoid(W mean).

    Args:
        dim: channels.
    Shape: (B, C, *spatial) -> (B, C, *spatial).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated map."""
        return weigh_channels(x, torch.sigmoid(self.score(x.mean(list(range(2, x.dim()))))))
