"""Stochastic depth: residual branches that a training leaves out at random."""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Sets the whole branch of some samples to zero in training, and scales the others so that the mean stays.

    Huang et al. 2016 ("Deep Networks with Stochastic Depth", arXiv 1603.09382), for each sample of the batch.

    Args:
        rate: probability with which a sample's branch is left out, in 0..1 without 1.
    Shape: (B, ...) -> (B, ...).

    Raises:
        ValueError: a rate outside of that.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"the rate of dropped paths must be at least 0 and below 1, not {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return what is left of the branch."""
        if not self.training or self.rate == 0.0:
            return x
        kept = torch.rand([x.shape[0]] + [1] * (x.dim() - 1), device=x.device) >= self.rate
        return x * kept.to(x.dtype) / (1.0 - self.rate)
