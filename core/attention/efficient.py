"""Attention that sums up the values of all positions first, in a few vectors, and lets each position read these."""

import torch
from torch import Tensor, nn

from ...kernels.heads import join_heads, split_heads
from ..blocks.linear import Linear
from .token_weights import TokenWeights, between_all

# B batch, N positions, h heads


class EfficientAttention(nn.Module):
    """Efficient attention (Shen et al. 2021, arXiv 1812.01243, sec. 3.2): softmax_c(q) (softmax_n(k)ᵀ v).

    Each key channel is an attention map over all positions (n), a query says how much it takes of each; no scaling. The
    cost is linear in the positions. The bias of the keys shifts a whole map, so it changes nothing and gets no
    gradient; it is kept because published weights have it.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `key_dim` and `value_dim`.
        key_dim: channels of queries and keys, `dim` by default.
        value_dim: channels of values, `dim` by default.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C). Any axes, any size. The residual is the caller's.

    Raises:
        ValueError: heads that do not divide the channels.
    """

    def __init__(self, dim: int, heads: int = 8, key_dim: int | None = None, value_dim: int | None = None) -> None:
        super().__init__()
        self.widths = [dim if key_dim is None else key_dim, dim if value_dim is None else value_dim]
        if any(width % heads for width in self.widths):
            raise ValueError(f"heads {heads} must divide the channels of keys and values, {self.widths}")
        self.heads = heads
        self.qkv = Linear(dim, 2 * self.widths[0] + self.widths[1])
        self.proj = Linear(self.widths[1], dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        shares_BhNk, maps_BhNk, values_BhNv = self._heads(x)
        context_Bhkv = torch.matmul(maps_BhNk.transpose(-2, -1), values_BhNv)
        return self.proj(join_heads(torch.matmul(shares_BhNk, context_Bhkv))).unflatten(1, x.shape[1:-1])

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens, which are a query's shares of the keys' maps."""
        shares, maps, values = self._heads(x)
        weights, grid = shares @ maps.mT, x.shape[1:-1]
        return self.proj(join_heads(weights @ values)).unflatten(1, grid), [between_all(weights, grid)]

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return a query's shares of the maps and the maps, (B, h, N, k) both, and the values, (B, h, N, v)."""
        q, k, v = self.qkv(x.flatten(1, -2)).split([self.widths[0], self.widths[0], self.widths[1]], -1)
        shares = split_heads(q, self.heads).softmax(-1)
        return shares, split_heads(k.softmax(1), self.heads), split_heads(v, self.heads)
