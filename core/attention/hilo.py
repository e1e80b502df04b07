"""Attention of some heads to neighbours, for fine structures, and of the others to a coarse map of the whole."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.heads import join_heads, split_heads
from ...kernels.window_attention.layout import WindowLayout, cut
from ...kernels.window_attention.softmax import softmax_weights
from ..blocks.linear import Linear
from .token_weights import TokenWeights, numbered, shared_out
from .window import WindowAttention

# B batch, N positions, h heads, d channels of a head


class HiLoAttention(nn.Module):
    """HiLo attention (Pan et al. 2022, LITv2, arXiv 2205.13213, sec. 3.1).

    High-frequency heads attend inside windows, low-frequency heads to the means of the windows. A map is padded at the
    end of each axis to whole windows with zeros, which take part.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        window: positions along each axis; of ones, all heads attend to all positions.
        share: of the heads that are low-frequency ones, 0..1, rounded down; alpha in the paper.
        qkv_bias: let queries, keys and values have biases.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C) with as many axes as `window`; the channels of the
        high-frequency heads first. Any size.

    Raises:
        ValueError: heads that do not divide `dim`, or a share outside of 0..1.
    """

    def __init__(
        self, dim: int, heads: int, window: Sequence[int] = (2, 2), share: float = 0.5, qkv_bias: bool = False
    ) -> None:
        super().__init__()
        if dim % heads or not 0 <= share <= 1:
            raise ValueError(f"heads {heads} must divide dim {dim}, and share {share} lie in 0..1")
        low = heads if max(window) == 1 else int(heads * share)
        self.branches = nn.ModuleDict()
        if low < heads:
            self.branches["high"] = WindowHeads(dim, heads - low, dim // heads, window, qkv_bias)
        if low > 0:
            self.branches["low"] = MeanHeads(dim, low, dim // heads, window, qkv_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        parts: list[Tensor] = []
        for branch in self.branches.values():
            parts.append(branch(x))
        return torch.cat(parts, -1)

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens; see `token_weights`."""
        parts = [branch.with_weights(x) for branch in self.branches.values()]
        return torch.cat([y for y, _ in parts], -1), [each for _, weights in parts for each in weights]


class WindowHeads(WindowAttention):
    """Some heads that attend inside windows.

    Args:
        dim: channels in.
        heads: how many.
        width: channels of a head.
        window: positions along each axis.
        qkv_bias: let queries, keys and values have biases.
    Shape: (B, *spatial, dim) -> (B, *spatial, heads * width).
    """

    def __init__(self, dim: int, heads: int, width: int, window: Sequence[int], qkv_bias: bool) -> None:
        super().__init__(heads * width, heads, window, position_bias=False, short_axis="pad")
        self.qkv = Linear(dim, 3 * heads * width, bias=qkv_bias)


class MeanHeads(nn.Module):
    """Some heads by which all positions attend to the means of windows, padding included.

    Args:
        dim: channels in.
        heads: how many.
        width: channels of a head.
        window: positions along each axis.
        qkv_bias: let queries, keys and values have biases.
    Shape: (B, *spatial, dim) -> (B, *spatial, heads * width).
    """

    def __init__(self, dim: int, heads: int, width: int, window: Sequence[int], qkv_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.window = list(window)
        self.q = Linear(dim, heads * width, bias=qkv_bias)
        self.kv = Linear(dim, 2 * heads * width, bias=qkv_bias)
        self.proj = Linear(heads * width, heads * width)

    def forward(self, x: Tensor) -> Tensor:
        """Return what these heads give."""
        q, k, v = self._heads(x)
        return self.proj(join_heads(F.scaled_dot_product_attention(q, k, v)).unflatten(1, x.shape[1:-1]))

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens, of which those of a window are alike."""
        q, k, v = self._heads(x)
        tokens_GP = cut(numbered(x.shape[1:-1], x), self._layout()).squeeze(-1) - 1
        tokens = shared_out(softmax_weights(q, k), tokens_GP, x.shape[1:-1])
        mixed = join_heads(tokens.weights @ v.repeat_interleave(tokens_GP.shape[1], 2))
        return self.proj(mixed.unflatten(1, x.shape[1:-1])), [tokens]

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries of all positions and the keys and values of the windows, (B, heads, N or windows, d)."""
        means = cut(x, self._layout()).mean(1).unflatten(0, (x.shape[0], -1))
        k, v = self.kv(means).chunk(2, -1)
        q, k, v = [split_heads(each, self.heads) for each in (self.q(x.flatten(1, -2)), k, v)]
        return q, k, v

    def _layout(self) -> WindowLayout:
        return WindowLayout(self.window, [0] * len(self.window))
