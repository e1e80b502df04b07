"""Attention between all positions of a map, whose own features are kept beside it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# B batch, C channels, K = C / reduction channels of a query or key, N positions


class PositionAttention(nn.Module):
    """Position attention module (Fu et al. 2019, DANet, arXiv 1809.02983, sec. 3.2): gamma softmax(q k) v + x.

    The scores are not scaled, and gamma starts at zero, so that a new block returns its input. The exact result is made
    by PyTorch's fused attention, which never holds the whole N x N map. The bias of the keys shifts all scores of a
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
        pointwise = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.query = pointwise(dim, dim // reduction, 1)
        self.key = pointwise(dim, dim // reduction, 1)
        self.value = pointwise(dim, dim, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with what its positions have told one another."""
        weight, bias = self._projections()
        tokens_BNC = x.flatten(2).transpose(1, 2)
        q_BNC, k_BNC, v_BNC = F.linear(tokens_BNC, weight, bias).unsqueeze(1).chunk(3, -1)
        mixed_BNC = F.scaled_dot_product_attention(q_BNC, k_BNC, v_BNC, scale=1.0).squeeze(1)
        return self.gamma * mixed_BNC.transpose(1, 2).reshape(x.shape) + x

    def _projections(self) -> tuple[Tensor, Tensor]:
        """Return one weight (3C, C) and one bias (3C,) for query, key and value.

        Queries and keys get as many channels as the values, all zeros, which leaves every product as it was: the fused
        attention wants equal widths and otherwise falls back to writing the N x N map.
        """
        query_bias, key_bias, value_bias = self.query.bias, self.key.bias, self.value.bias
        assert query_bias is not None  # the assertions say to TorchScript what it cannot know of a convolution
        assert key_bias is not None
        assert value_bias is not None
        missing = self.value.weight.shape[0] - self.query.weight.shape[0]
        weights = [
            F.pad(self.query.weight.flatten(1), [0, 0, 0, missing]),
            F.pad(self.key.weight.flatten(1), [0, 0, 0, missing]),
            self.value.weight.flatten(1),
        ]
        biases = [F.pad(query_bias, [0, missing]), F.pad(key_bias, [0, missing]), value_bias]
        return torch.cat(weights), torch.cat(biases)
