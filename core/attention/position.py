"""Attention between all positions of a map, whose own features are kept beside it."""

import torch
from torch import Tensor, nn

from ...kernels.linear import linear
from ...kernels.position_attention import position_attention
from ...kernels.window_attention.softmax import softmax_weights
from ..blocks.dimensions import CONVOLUTIONS
from .token_weights import TokenWeights, between_all

# B batch, C channels, K = C / reduction channels of a query or key, N positions


class PositionAttention(nn.Module):
    """Position attention module (Fu et al. 2019, DANet, arXiv 1809.02983, sec. 3.2): gamma softmax(q k) v + x.

    The scores are not scaled, and gamma starts at zero, so that a new block returns its input. The result is exact, but
    a large N x N map is never held. The bias of the keys shifts all scores of a
    query alike, so it changes nothing and gets no gradient; it is kept because published weights have it.

    Args:
        dim: channels in and out.
        reduction: channels per channel of the queries and keys.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (B, C, H, W) -> (B, C, H, W), or the same with D, H, W. Any size.

    Raises:
        ValueError: fewer channels than `reduction`.
    """

    def __init__(self, dim: int, reduction: int = 8, spatial_dims: int = 2) -> None:
        super().__init__()
        if dim < reduction:
            raise ValueError(f"dim {dim} must be at least reduction {reduction}")
        pointwise = CONVOLUTIONS[spatial_dims]
        self.query = pointwise(dim, dim // reduction, 1)
        self.key = pointwise(dim, dim // reduction, 1)
        self.value = pointwise(dim, dim, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with what its positions have told one another."""
        tokens_BNC = x.flatten(2).transpose(1, 2)
        q_BNK, k_BNK, v_BNC = self._projected(tokens_BNC)
        mixed_BNC = position_attention(q_BNK, k_BNK, v_BNC)
        return self.gamma * mixed_BNC.transpose(1, 2).reshape(x.shape) + x

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens; see `token_weights`."""
        q_BNK, k_BNK, v_BNC = self._projected(x.flatten(2).transpose(1, 2))
        weights = softmax_weights(q_BNK.unsqueeze(1), k_BNK.unsqueeze(1), scale=1.0)
        mixed_BNC = weights.squeeze(1) @ v_BNC
        return self.gamma * mixed_BNC.mT.reshape(x.shape) + x, [between_all(weights, x.shape[2:])]

    def _projected(self, tokens_BNC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries and keys (B, N, K) and values (B, N, C), by one product."""
        query_bias, key_bias, value_bias = self.query.bias, self.key.bias, self.value.bias
        assert query_bias is not None  # the assertions say to TorchScript what it cannot know of a convolution
        assert key_bias is not None
        assert value_bias is not None
        weights = [self.query.weight.flatten(1), self.key.weight.flatten(1), self.value.weight.flatten(1)]
        biases = torch.cat([query_bias, key_bias, value_bias])
        narrow = query_bias.shape[0]
        q_BNK, k_BNK, v_BNC = linear(tokens_BNC, torch.cat(weights), biases).split(
            [narrow, narrow, value_bias.shape[0]], dim=-1
        )
        return q_BNK, k_BNK, v_BNC
