"""Normalisation layers."""

import torch
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer norm over the channels at each position of a map (biased variance, affine).

    Args:
        dim: channels.
        eps: added to the variance.
    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map."""
        variance, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
        scale = torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias[:, None, None], (x - mean) * scale, self.weight[:, None, None])
