"""Attention inside groups of a volume's tokens: neighbours (local), or a sample of the whole volume (global, dilated).

Wu et al.: "D-Former: a U-shaped Dilated Transformer for 3D medical image segmentation", Neural Computing and
Applications 2022, arXiv 2201.00462.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.window_attention.layout import partition, unpartition
from ..blocks.drop_path import DropPath
from ..blocks.mlp import FeedForward
from .token_weights import TokenWeights, joined, numbered, softmax_weights

# B batch, D H W tokens along depth, height and width, C channels, G groups, N tokens of a group, h heads


class VolumeGroupAttention(nn.Module):
    """Self-attention inside local or global groups of tokens (Wu et al. 2022, sec. 3.2), without a position bias.

    A local group is a box of `group` tokens. A global one takes about as many tokens in even strides from the whole
    volume. The volume is padded to whole groups with zeros before the projection, and padding is no key, except where
    global groups are padded in depth alone: the authors' network attends to it there, and published numbers with it.
    A volume lower than a group is one group, whatever its depth and width.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        group: tokens of a group along depth, height and width.
        dilated: global groups.
        interval: global groups are made of a volume padded to multiples of this along all axes; the stride itself is
            the padded size // group.
        qkv_bias: let queries, keys and values have biases.
        drop: dropout of the output, in training.
        attention_drop: dropout of the attention weights, in training.
    Shape: (B, D, H, W, C) -> (B, D, H, W, C). Local groups take any size.

    Raises:
        ValueError: heads that do not divide `dim`; in `forward`, a size that global groups cannot cover.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        group: tuple[int, int, int],
        dilated: bool = False,
        interval: int = 1,
        qkv_bias: bool = True,
        drop: float = 0.0,
        attention_drop: float = 0.0,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads {heads} must divide dim {dim}")
        if min(*group, interval) < 1:
            raise ValueError(f"group and interval must be at least 1, not {tuple(group)} and {interval}")
        self.heads = heads
        self.group = list(group)
        self.dilated = dilated
        self.interval = interval
        self.attention_drop = attention_drop
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Return the volume with what the tokens of each group have told one another."""
        B, D, H, W, _ = x.shape
        dilated = self.dilated and not self.is_low(H)
        padded, members = self.layout([D, H, W])
        missing = [0, 0, 0, padded[2] - W, 0, padded[1] - H, 0, padded[0] - D]
        whole = F.pad(x, missing) if padded != [D, H, W] else x  # padding by nothing copies
        groups_GNC = partition(whole, members, dilated)
        ignored = padded[1] != H or padded[2] != W or (padded[0] != D and not dilated)
        real_GN: Tensor | None = None
        if ignored:
            ones = F.pad(x.new_ones([1, D, H, W, 1]), missing)
            real_GN = partition(ones, members, dilated).squeeze(-1).repeat(B, 1)
        mixed = unpartition(self.attend(groups_GNC, real_GN), padded, members, dilated)
        return self.drop(self.proj(mixed[:, :D, :H, :W]))

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens; see `token_weights`."""
        sizes = list(x.shape[1:-1])
        dilated = self.dilated and not self.is_low(sizes[1])
        padded, members = self.layout(sizes)
        lacks = [whole - size for size, whole in zip(sizes, padded, strict=True)]
        missing = [0, 0, 0, lacks[2], 0, lacks[1], 0, lacks[0]]
        tokens_GN = partition(F.pad(numbered(sizes, x), missing), members, dilated).squeeze(-1).repeat(len(x), 1) - 1
        groups_GNC = partition(F.pad(x, missing), members, dilated)
        q, k, v = self.qkv(groups_GNC).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        ignored = any(lacks[1:]) or (lacks[0] > 0 and not dilated)
        weights = softmax_weights(q, k, key_bias((tokens_GN >= 0).to(q.dtype)) if ignored else None)
        mixed = unpartition(joined(weights @ v), padded, members, dilated)[:, *map(slice, sizes)]
        return self.proj(mixed), [TokenWeights(weights, tokens_GN, tokens_GN, len(x), sizes)]

    def attend(self, groups_GNC: Tensor, real_GN: Tensor | None) -> Tensor:
        """Return the mixed values of each group, before the last projection; keys marked 0 are left out."""
        G, N, C = groups_GNC.shape
        qkv = self.qkv(groups_GNC).reshape(G, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        bias = key_bias(real_GN.to(qkv.dtype)) if real_GN is not None else None
        drop = self.attention_drop if self.training else 0.0
        mixed_GhNd = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], bias, drop)
        return mixed_GhNd.transpose(1, 2).reshape(G, N, C)

    def is_low(self, height: int) -> bool:
        """Tell whether the whole volume is one group: the authors compare the height alone."""
        return height < self.group[1]

    def layout(self, sizes: list[int]) -> tuple[list[int], list[int]]:
        """Return the padded size and the tokens of a group along each axis."""
        if self.is_low(sizes[1]):
            return sizes, sizes
        if not self.dilated:
            return [size + (-size) % side for size, side in zip(sizes, self.group)], self.group  # noqa: B905
        padded = [size + (-size) % self.interval for size in sizes]
        return padded, [dilated_members(size, side) for size, side in zip(padded, self.group)]  # noqa: B905


def dilated_members(size: int, side: int) -> int:
    """Return how many tokens a global group takes along an axis of `size` tokens, for groups of about `side`.

    Raises:
        ValueError: no stride lets such groups cover the axis.
    """
    stride = size // side
    if stride < 1 or size % stride != 0:
        raise ValueError(
            f"global attention in groups of {side} cannot cover {size} tokens: the stride {size} // {side} = {stride} "
            "must be at least 1 and divide them; take another size"
        )
    return size // stride


def key_bias(real_GN: Tensor) -> Tensor:
    """Return what is added to the scores, (G, 1, 1, N): nothing for keys marked 1, a finite penalty for those marked 0.

    It is finite, unlike a mask, for groups that are padding throughout, and so also in half precision.
    """
    penalty = 3e4 if real_GN.dtype == torch.float16 else 1e6  # 65504 is the largest number of half precision
    return ((real_GN - 1.0) * penalty)[:, None, None, :]


class VolumeGroupBlock(nn.Module):
    """Transformer block with attention in groups (Wu et al. 2022, sec. 3.2): x + attention(norm x), x + mlp(norm x).

    Args:
        dim: channels in and out.
        heads: attention heads.
        group: tokens of a group along depth, height and width.
        dilated: global groups, see `VolumeGroupAttention`.
        interval: global groups are made of a volume padded to multiples of this.
        mlp_ratio: hidden channels of the multi-layer perceptron, as a multiple of `dim`.
        qkv_bias: let queries, keys and values have biases.
        drop: dropout of the attention's output and inside the perceptron.
        attention_drop: dropout of the attention weights.
        drop_path: rate of stochastic depth of both branches.
    Shape: (B, D, H, W, C) -> (B, D, H, W, C).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        group: tuple[int, int, int],
        dilated: bool = False,
        interval: int = 1,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop: float = 0.0,
        attention_drop: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = VolumeGroupAttention(dim, heads, group, dilated, interval, qkv_bias, drop, attention_drop)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, mlp_ratio, drop)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        x = x + self.drop_path(self.attention(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))
