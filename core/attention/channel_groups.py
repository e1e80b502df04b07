"""Attention between the channels of each head over all positions, without norms.

Ding et al. 2022: "DaViT: Dual Attention Vision Transformers", arXiv 2204.03645, sec. 3.3.
"""

import torch
from torch import Tensor, nn

from ...kernels.channel_attention import mix_channels
from ...kernels.heads import check_heads
from ..blocks.linear import Linear


class ChannelGroupAttention(nn.Module):
    """Self-attention between the channels of a channels-last map; a head is a group of them (Ding et al., sec. 3.3).

    The published networks compare keys with values and sum the queries; those of Florence-2 compare queries with keys
    and sum the values (`second`).

    Args:
        dim: channels in and out.
        heads: groups of channels; must divide `dim`.
        second: as in Florence-2.
        by_positions: scale the scores of `second` by the number of positions, not by that of a group's channels.
        qkv_bias: let queries, keys and values have biases.
        drop: dropout of the output, in training.
    Shape: (B, *spatial, C) -> (B, *spatial, C).

    Raises:
        ValueError: heads that do not divide `dim`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        second: bool = False,
        by_positions: bool = True,
        qkv_bias: bool = True,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.heads, self.second, self.by_positions = heads, second, by_positions
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = Linear(dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with what the channels of each group have told one another."""
        q, k, v = self.qkv(x.flatten(1, -2)).chunk(3, -1)
        if self.second:
            scale = float(q.shape[1] if self.by_positions else q.shape[2] // self.heads) ** -0.5
            mixed = mix_channels(self.weights(q * scale, k), v)
        else:
            mixed = mix_channels(self.weights(k * float(q.shape[2] // self.heads) ** -0.5, v), q)
        return self.drop(self.proj(mixed)).view(x.shape)

    def weights(self, one: Tensor, other: Tensor) -> Tensor:
        """Return (B, heads, d, d), how much each channel of `one` (B, L, C) takes of those of `other`."""
        rows, columns = one.unflatten(-1, [self.heads, -1]), other.unflatten(-1, [self.heads, -1])
        return torch.matmul(rows.permute(0, 2, 3, 1), columns.transpose(1, 2)).softmax(-1)
