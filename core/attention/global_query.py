"""Windows that are asked by queries made of the whole map.

Hatamizadeh et al. 2023: "Global Context Vision Transformers", arXiv 2206.09959, sec. 3.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.heads import check_heads, join_heads, split_heads
from ...kernels.window_attention.layout import WindowLayout, cut, merge, padded
from ...kernels.window_attention.reference import attend_apart, layout_mask
from ..blocks.dimensions import CONVOLUTIONS, MAX_POOLS
from ..blocks.linear import Linear
from ..blocks.transformer import TransformerBlock
from .token_weights import TokenWeights, in_windows, numbered
from .window import RelativePositionBias, WindowAttention


class GlobalQueryAttention(nn.Module):
    """Attention of the same queries to the tokens of every window of a channels-last map (Hatamizadeh et al., 3.3).

    A map that windows do not divide is padded at the end with zeros, which are no keys.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        window: tokens along each axis.
        kv_bias: let keys and values have biases.
        drop: dropout of the output, in training.
    Shape: (B, *spatial, C) and queries (B, *window, C) -> (B, *spatial, C).

    Raises:
        ValueError: heads that do not divide `dim`.
    """

    def __init__(
        self, dim: int, heads: int, window: Sequence[int] = (7, 7), kv_bias: bool = True, drop: float = 0.0
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.window = list(window)
        self.kv = Linear(dim, 2 * dim, bias=kv_bias)
        self.position = RelativePositionBias(heads, window)
        self.proj = Linear(dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor, query: Tensor) -> Tensor:
        """Return for each token what the query at its place in the window found there."""
        sizes = x.shape[1:-1]
        layout = WindowLayout(self.window, [0] * len(sizes), mask_padding=True)
        k, v = [split_heads(each, self.heads) for each in self.kv(cut(x, layout)).chunk(2, -1)]
        q_BhNd = split_heads(query.flatten(1, -2), self.heads)
        q = q_BhNd.unsqueeze(1).expand(-1, k.shape[0] // x.shape[0], -1, -1, -1).flatten(0, 1)
        mixed = attend_apart(q, k, v, self.position(self.window), layout_mask(sizes, layout, q))
        return self.drop(self.proj(merge(join_heads(mixed), sizes, layout)))

    def with_weights(self, x: Tensor, query: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens; a token has the query of its place in a window."""
        sizes = x.shape[1:-1]
        layout = WindowLayout(self.window, [0] * len(sizes), mask_padding=True)
        kv = self.kv(cut(x, layout))
        q = query.flatten(1, -2).repeat_interleave(len(kv) // len(x), 0)
        windows, bias = torch.cat([q, kv], -1), self.position(self.window)
        mixed, weights = in_windows(windows, self.heads, bias, layout, numbered(sizes, x), sizes)
        return self.proj(mixed), [weights]


class GlobalQueryBlock(TransformerBlock):
    """The transformer block around `GlobalQueryAttention`. Shape: (B, *spatial, C), (B, *window, C) -> the former."""

    def forward(self, x: Tensor, query: Tensor) -> Tensor:
        """Return the block's output."""
        x = x + self.drop_path(self.scale1(self.mixer(self.norm1(x), query)))
        return x + self.drop_path(self.scale2(self.mlp(self.norm2(x))))


class ExcitedConvolution(nn.Module):
    """Depth-wise convolution, GELU, squeeze and excitation, 1x1 convolution; a residual (Hatamizadeh et al., eq. 2).

    Args:
        dim: channels in and out.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (B, C, *spatial) -> (B, C, *spatial).
    """

    def __init__(self, dim: int, spatial_dims: int = 2) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[spatial_dims]
        squeezed = max(8, (dim // 4 + 4) // 8 * 8)
        self.depthwise = convolution(dim, dim, 3, padding=1, groups=dim, bias=False)
        self.squeeze = convolution(dim, squeezed, 1, bias=False)
        self.excite = convolution(squeezed, dim, 1, bias=False)
        self.project = convolution(dim, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map."""
        y = F.gelu(self.depthwise(x))
        mean = y.mean(list(range(2, y.dim())), keepdim=True)
        return x + self.project(y * self.excite(F.gelu(self.squeeze(mean))).sigmoid())


class GlobalQuery(nn.Sequential):
    """Makes one window of queries of a whole map (Hatamizadeh et al., sec. 3.2): convolutions, halved until it fits.

    Args:
        dim: channels in and out.
        halvings: how often the map is halved; it is 2^halvings windows long along each axis.
        spatial_dims: 2 for maps, 3 for volumes.
    Shape: (B, C, *spatial) -> (B, C, *window).
    """

    def __init__(self, dim: int, halvings: int, spatial_dims: int = 2) -> None:
        layers: list[nn.Module] = []
        for step in range(max(1, halvings)):
            layers.append(ExcitedConvolution(dim, spatial_dims))
            if step < halvings:
                layers.append(MAX_POOLS[spatial_dims](3, 2, 1))
        super().__init__(*layers)


class GlobalQueryStage(nn.Module):
    """Transformer blocks that attend to windows, by turns with their own queries and with those of the whole map.

    A map is padded at the end with zeros to 2^halvings windows along each axis for the queries, and padding is no key.

    Args:
        dim: channels in and out.
        depth: blocks; the first attends with its own queries.
        heads: attention heads; must divide `dim`.
        window: tokens along each axis.
        halvings: a map is at most 2^halvings windows long along each axis.
        mlp_ratio: hidden channels of the multi-layer perceptrons, as a multiple of `dim`.
        layer_scale: at what the learned factors of the branches start; None for no factors.
        qkv_bias: let queries, keys and values have biases.
        norm_eps: added to the variance in the norms.
    Shape: channels-first, (B, C, *spatial) -> (B, C, *spatial).

    Raises:
        ValueError: in `forward`, a map that is longer than that.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        window: Sequence[int] = (7, 7),
        halvings: int = 1,
        mlp_ratio: float = 4.0,
        layer_scale: float | None = None,
        qkv_bias: bool = True,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.whole = [side * 2**halvings for side in window]
        self.query = GlobalQuery(dim, halvings, len(window))
        self.local_blocks, self.global_blocks, self.last = nn.ModuleList(), nn.ModuleList(), nn.Identity()
        for number in range(depth):
            if number % 2:
                mixer = GlobalQueryAttention(dim, heads, window, qkv_bias)
                self.global_blocks.append(
                    GlobalQueryBlock(mixer, dim, mlp_ratio, norm_eps=norm_eps, layer_scale=layer_scale)
                )
                continue
            mixer = WindowAttention(dim, heads, window, qkv_bias=qkv_bias, mask_padding=True)
            block = TransformerBlock(mixer, dim, mlp_ratio, norm_eps=norm_eps, layer_scale=layer_scale)
            if number < depth - 1:
                self.local_blocks.append(block)
            else:
                self.last = block

    def forward(self, x: Tensor) -> Tensor:
        """Return the map."""
        x = x.movedim(1, -1)
        for whole, size in zip(self.whole, x.shape[1:-1]):  # noqa: B905
            if size > whole:
                raise ValueError(f"a map of {size} is too long for {whole}; raise halvings")
        query = self.query(padded(x, self.whole).movedim(-1, 1)).movedim(1, -1)
        for own, shared in zip(self.local_blocks, self.global_blocks):  # noqa: B905
            x = shared(own(x), query)
        return self.last(x).movedim(-1, 1)
