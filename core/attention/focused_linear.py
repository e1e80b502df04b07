"""Linear attention whose features point more sharply along a few channels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.heads import check_heads, join_heads, split_heads
from ..blocks.channels_last import PatchReduction, depthwise
from ..blocks.linear import Linear
from ..blocks.resampling import linear_resize
from .performer import feature_attention

# B batch, h heads, N positions, d channels of a head


class FocusedLinearAttention(nn.Module):
    """Focused linear attention (Han et al. 2023, FLatten Transformer, arXiv 2308.00442, sec. 4): linear in positions.

    Queries and keys become relu(x) / softplus(scale), raised to a power and brought back to the length before, over all
    heads' channels together. A depth-wise convolution of the values, with the same kernels in every head, gives back
    the rank that linear attention lacks. What is raised to a power is made in float32 at least.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        size: of the maps, along each axis: that of the learned encoding of positions, which is stretched over maps of
            other sizes. Two or three axes.
        power: p of the features.
        kernel: side of the convolution in pixels, odd.
        reduction: side of the patches, in pixels, of which each gives one key and value. The values are then stretched
            along the flattened positions for the convolution, as in the authors' form for PVT.
        qkv_bias: let queries, keys and values have biases.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C). Any size.

    Raises:
        ValueError: heads that do not divide `dim`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        size: Sequence[int],
        power: int = 3,
        kernel: int = 5,
        reduction: int = 1,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        axes, width = len(size), dim // heads
        self.heads = heads
        self.power = power
        self.reduction = reduction
        self.q = Linear(dim, dim, bias=qkv_bias)
        self.reduce = PatchReduction(dim, reduction, axes) if reduction > 1 else nn.Identity()
        self.kv = Linear(dim, 2 * dim, bias=qkv_bias)
        self.scale = nn.Parameter(torch.zeros(dim))
        self.positions = nn.Parameter(torch.zeros(1, dim, *(length // reduction for length in size)))
        self.kernels = nn.Parameter(torch.empty(width, 1, *[kernel] * axes))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.kaiming_uniform_(self.kernels, a=5**0.5)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        q, (k, v) = self.q(x), self.kv(self.reduce(x)).chunk(2, -1)
        k = k + linear_resize(self.positions, k.shape[1:-1]).movedim(1, -1)
        q_BhNd, k_BhNd = self.focused(q.flatten(1, -2)), self.focused(k.flatten(1, -2))
        v_BhNd = split_heads(v.flatten(1, -2), self.heads).to(k_BhNd.dtype)
        # Means over the keys, as sums of many leave the range of float16, in which autocast may make them.
        mixed_BhNd = feature_attention(q_BhNd, k_BhNd / k_BhNd.shape[2], v_BhNd, least=1e-6)
        return self.proj(join_heads(mixed_BhNd).reshape(x.shape).to(v.dtype) + self.convolved(v, x.shape))

    def focused(self, x: Tensor) -> Tensor:
        """Return the features of queries or keys, (B, N, C) -> (B, h, N, d)."""
        wide = torch.promote_types(x.dtype, torch.float32)
        x = (F.relu(x.to(wide)) + 1e-6) / F.softplus(self.scale.to(wide))
        sharp = x**self.power
        lengths = torch.linalg.vector_norm(x, dim=-1) / torch.linalg.vector_norm(sharp, dim=-1)
        return split_heads(sharp * lengths.unsqueeze(-1), self.heads)

    def convolved(self, v: Tensor, shape: list[int]) -> Tensor:
        """Return the values, stretched to a map of this shape if they are fewer, convolved."""
        if self.reduction > 1:
            count = 1
            for length in shape[1:-1]:
                count *= length
            v = linear_resize(v.flatten(1, -2).transpose(1, 2), [count]).transpose(1, 2).unflatten(1, shape[1:-1])
        repeats = [self.heads] + [1] * (len(shape) - 1)
        return depthwise(v, self.kernels.repeat(repeats), self.bias.repeat(self.heads))
