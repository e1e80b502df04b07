"""Attention of one head between all positions, on some of the channels."""

import torch
from torch import Tensor, nn

from ...kernels.position_attention import position_attention
from ...kernels.window_attention.softmax import softmax_weights
from ..blocks.convolution import ConvNorm
from .token_weights import TokenWeights, between_all

# B batch, N positions, K channels of a query or key, P channels that attend


class SingleHeadAttention(nn.Module):
    """One head on the first channels, beside the others as they are (Yun and Ro 2024, SHViT, sec. 3).

    project(relu([softmax(q k / sqrt(K)) v, rest])), the projections with batch norm. That of the output starts at zero,
    so that a new residual branch adds nothing. Exact, without the map of all pairs. arXiv 2401.16456.

    Args:
        dim: channels in and out.
        attended: channels that attend, the first ones; the authors take about dim / 4.67.
        qk_dim: channels of the queries and keys.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-first, (B, C, H, W) -> (B, C, H, W), or the same with depth. Any size.
    """

    def __init__(self, dim: int, attended: int, qk_dim: int = 16, spatial_dims: int = 2) -> None:
        super().__init__()
        self.widths = [qk_dim, qk_dim, attended]
        self.rest = dim - attended
        self.norm = nn.GroupNorm(1, attended)
        self.qkv = ConvNorm(attended, sum(self.widths), spatial_dims=spatial_dims)
        self.project = ConvNorm(dim, dim, spatial_dims=spatial_dims)
        nn.init.zeros_(self.project.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map; the residual is the caller's."""
        attending, rest = x.split([self.widths[2], self.rest], 1)
        tokens = self.qkv(self.norm(attending)).flatten(2).transpose(1, 2)
        q_BNK, k_BNK, v_BNP = tokens.split(self.widths, 2)
        mixed_BNP = position_attention(q_BNK * self.widths[0] ** -0.5, k_BNK, v_BNP)
        mixed = mixed_BNP.transpose(1, 2).reshape(attending.shape)
        return self.project(torch.relu(torch.cat([mixed, rest], 1)))

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens; see `token_weights`."""
        attending, rest = x.split([self.widths[2], self.rest], 1)
        tokens = self.qkv(self.norm(attending)).flatten(2).mT
        q_BNK, k_BNK, v_BNP = tokens.split(self.widths, 2)
        weights = softmax_weights(q_BNK.unsqueeze(1), k_BNK.unsqueeze(1))
        mixed = (weights.squeeze(1) @ v_BNP).mT.reshape(attending.shape)
        y = self.project(torch.relu(torch.cat([mixed, rest], 1)))
        return y, [between_all(weights, x.shape[2:])]
