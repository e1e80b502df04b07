"""Attention between channels by their covariance over all positions, for channels-last maps."""

import torch
from torch import Tensor, nn

from ...kernels.channel_attention import channel_scores, mix_channels
from ...kernels.heads import check_heads
from ..blocks.linear import Linear


class CrossCovarianceAttention(nn.Module):
    """Cross-covariance attention (El-Nouby et al. 2021, XCiT, arXiv 2106.09681, eq. 3): y = v softmax(t q̂ᵀ k̂)ᵀ.

    The channels of a head are compared by their cosine over all positions, so the cost is linear in these; positions
    meet nowhere else. With convolutions in the projections, channels-first, it is `channel.ChannelAttention`.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        qkv_bias: let queries, keys and values have biases.
        attention_drop: dropout of the attention weights, in training.
        drop: dropout of the output, in training.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C). Any axes, any size.

    Raises:
        ValueError: heads that do not divide `dim`.
    """

    def __init__(
        self, dim: int, heads: int = 8, qkv_bias: bool = True, attention_drop: float = 0.0, drop: float = 0.0
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.attention_drop = nn.Dropout(attention_drop)
        self.proj = Linear(dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        q, k, v = self.qkv(x.flatten(1, -2)).chunk(3, -1)
        weights = channel_scores(q, k, self.temperature).softmax(-1)
        mixed = mix_channels(self.attention_drop(weights), v)
        return self.drop(self.proj(mixed.view(x.shape)))
