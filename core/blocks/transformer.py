"""The transformer block around a token mixer: what vision transformers share (Dosovitskiy et al. 2021, eq. 2 and 3)."""

import torch
from torch import Tensor, nn

from .drop_path import DropPath
from .mlp import FeedForward


class LayerScale(nn.Module):
    """A learned factor for each channel of a residual branch (Touvron et al. 2021, CaiT, sec. 2).

    Args:
        dim: channels.
        start: what the factors are at first.
    Shape: (B, ..., C) -> (B, ..., C).
    """

    def __init__(self, dim: int, start: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((dim,), start))

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch with its channels scaled."""
        return x * self.weight


class TransformerBlock(nn.Module):
    """x + mixer(norm x), then x + mlp(norm x), on channels-last maps of any number of axes.

    Args:
        mixer: takes and returns (B, *spatial, C).
        dim: channels in and out.
        mlp_ratio: hidden channels of the multi-layer perceptron, as a multiple of `dim`.
        drop_path: rate of stochastic depth of both branches.
        norm_eps: added to the variance in the norms.
        drop: dropout inside the perceptron; the mixer has its own.
        layer_scale: at what learned factors of both branches' channels start; None for no factors.
        approximate: "tanh" for the approximation of the perceptron's GELU.
    Shape: (B, *spatial, C) -> (B, *spatial, C).
    """

    def __init__(
        self,
        mixer: nn.Module,
        dim: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        norm_eps: float = 1e-5,
        drop: float = 0.0,
        layer_scale: float | None = None,
        approximate: str = "none",
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, norm_eps)
        self.mixer = mixer
        self.scale1 = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)
        self.norm2 = nn.LayerNorm(dim, norm_eps)
        self.mlp = FeedForward(dim, mlp_ratio, drop, approximate)
        self.scale2 = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        x = x + self.drop_path(self.scale1(self.mixer(self.norm1(x))))
        return x + self.drop_path(self.scale2(self.mlp(self.norm2(x))))
