"""Attention of each region of a map to the few regions that it is routed to."""

import torch
from torch import Tensor, nn

from ...kernels.heads import join_heads, split_heads
from ...kernels.linear import linear
from ...kernels.routed_attention import routed_attention
from ...kernels.window_attention.layout import cropped, padded, padded_sizes, partition, unpartition
from ...kernels.window_attention.softmax import softmax_weights
from ..blocks.channels_last import DepthwiseConvolution
from ..blocks.linear import Linear
from .token_weights import TokenWeights, numbered

# B batch, R regions, n positions of a region, t regions that one attends to, h heads, d channels of a head


class BiLevelRoutingAttention(nn.Module):
    """Bi-level routing attention (Zhu et al. 2023, BiFormer, arXiv 2303.08810, sec. 3.2).

    Regions are compared by the means of their queries and keys; each attends to all positions of the regions that fit
    it best. Routing has no gradient. A depth-wise convolution of the values is added. The scores are divided by the
    square root of all channels, not of a head's, as in the authors' code.

    On a CPU some regions follow others, so that the keys and values of all routes are never gathered at once.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim` and `qk_dim`.
        regions: of the map along each axis; it is padded at the end to multiples of this with zeros, which take part.
        topk: regions that one attends to; all where there are fewer.
        qk_dim: channels of queries and keys, `dim` by default.
        kernel: side of the convolution in pixels, odd.
        floor: make regions of size // regions positions, so that there may be more of them along an axis than
            `regions`, and pad queries, keys and values, not the map (the authors' later code).
        qkv_bias: let queries, keys and values have biases.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C). Any size; with `floor`, at least `regions`.

    Raises:
        ValueError: heads that do not divide the channels.
    """

    def __init__(
        self,
        dim: int,
        heads: int = 8,
        regions: int = 7,
        topk: int = 4,
        qk_dim: int | None = None,
        kernel: int = 5,
        floor: bool = False,
        qkv_bias: bool = True,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        self.qk_dim = dim if qk_dim is None else qk_dim
        if dim % heads or self.qk_dim % heads:
            raise ValueError(f"heads {heads} must divide dim {dim} and qk_dim {self.qk_dim}")
        self.dim, self.heads, self.regions, self.topk, self.floor = dim, heads, regions, topk, floor
        self.qkv = Linear(dim, 2 * self.qk_dim + dim, bias=qkv_bias)
        self.local = DepthwiseConvolution(dim, kernel, spatial_dims)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        sizes = list(x.shape[1:-1])
        whole, region = self._fitted(x)
        tokens_Rn = region_tokens(list(whole.shape[1:-1]), region, x.device)
        routes_BRt = self.routes(whole, sizes, region)
        mixed = routed_attention(whole.flatten(1, -2), self.qk_dim, self.heads, tokens_Rn, routes_BRt)
        return self._output(mixed.unflatten(1, whole.shape[1:-1]), whole, sizes)

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens; see `token_weights`."""
        sizes = list(x.shape[1:-1])
        whole, region = self._fitted(x)
        numbers = padded(numbered(sizes, x), whole.shape[1:-1])
        routes_BRt = self.routes(whole, sizes, region)
        in_regions, tokens_Rn = (partition(each, region, False) for each in (whole, numbers))
        tokens_BRn = tokens_Rn.squeeze(-1).expand(len(x), -1, -1) - 1
        regions_BRnC = in_regions.unflatten(0, (len(x), -1))
        sample = torch.arange(len(x), device=x.device)[:, None, None]
        keys_BRm = tokens_BRn[sample, routes_BRt].flatten(2)
        kv = regions_BRnC[..., self.qk_dim :][sample, routes_BRt].flatten(2, 3).flatten(0, 1)
        q, k, v = (
            split_heads(each, self.heads)
            for each in (in_regions[..., : self.qk_dim], kv[..., : self.qk_dim], kv[..., self.qk_dim :])
        )
        weights = softmax_weights(q, k)
        mixed = unpartition(join_heads(weights @ v), whole.shape[1:-1], region, False)
        tokens = TokenWeights(weights, tokens_BRn.flatten(0, 1), keys_BRm.flatten(0, 1), len(x), sizes)
        return self._output(mixed, whole, sizes), [tokens]

    def _fitted(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """Return the queries, keys and values of a map padded to whole regions, and the sides of a region."""
        sizes = list(x.shape[1:-1])
        if self.floor:
            region = [size // self.regions for size in sizes]
            return padded(self.projected(x), padded_sizes(sizes, region)), region
        region = [(size + self.regions - 1) // self.regions for size in sizes]
        return self.projected(padded(x, [self.regions * side for side in region])), region

    def _output(self, mixed: Tensor, whole: Tensor, sizes: list[int]) -> Tensor:
        """Return the map of these sizes: what was mixed of the padded one, and the convolution of its values."""
        return self.proj(cropped(mixed + self.local(whole[..., 2 * self.qk_dim :]), sizes))

    def projected(self, x: Tensor) -> Tensor:
        """Return queries, keys and values; the queries so that division by the root of a head's channels is enough."""
        scale = torch.ones_like(self.qkv.weight[:, :1])
        scale[: self.qk_dim] = float(self.heads) ** -0.5
        bias = self.qkv.bias
        return linear(x, self.qkv.weight * scale, None if bias is None else bias * scale.squeeze(1))

    def routes(self, qkv: Tensor, sizes: list[int], region: list[int]) -> Tensor:
        """Return the regions that each attends to, (B, R, t), for a padded map whose first `sizes` are real."""
        means = region_means(qkv[..., : 2 * self.qk_dim].detach(), region)
        if self.floor:  # padding is zeros then, and shall not count
            means = means / region_means(padded(means.new_ones(sizes)[None, ..., None], qkv.shape[1:-1]), region)
        q, k = means.flatten(1, -2).chunk(2, -1)
        return torch.matmul(q, k.transpose(1, 2)).topk(min(self.topk, q.shape[1]), -1)[1]


def region_means(x: Tensor, region: list[int]) -> Tensor:
    """Return the mean of each region, (B, *spatial, C) -> (B, *(spatial // region), C)."""
    for axis, side in enumerate(region):
        x = x.unflatten(axis + 1, [-1, side]).mean(axis + 2)
    return x


def region_tokens(sizes: list[int], region: list[int], device: torch.device) -> Tensor:
    """Return the numbers of a map's positions in each region, (R, n), regions and positions in raster order."""
    count = 1
    for size in sizes:
        count *= size
    numbers = torch.arange(count, device=device).view(sizes)[None, ..., None]
    return partition(numbers, region, False).squeeze(-1)
