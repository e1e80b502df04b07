"""Attention of some heads to neighbours, for fine structures, and of the others to a coarse map of the whole."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.window_attention import projected_window_attention
from ...kernels.window_attention.layout import WindowLayout, cut
from .token_weights import TokenWeights, in_windows, joined, numbered, softmax_weights

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


class WindowHeads(nn.Module):
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
        super().__init__()
        self.heads = heads
        self.window = list(window)
        self.qkv = nn.Linear(dim, 3 * heads * width, bias=qkv_bias)
        self.proj = nn.Linear(heads * width, heads * width)

    def forward(self, x: Tensor) -> Tensor:
        """Return what these heads give."""
        qkv, proj, layout = self.qkv, self.proj, WindowLayout(self.window, [0] * len(self.window))
        return projected_window_attention(x, qkv.weight, qkv.bias, proj.weight, proj.bias, self.heads, None, layout)

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens; see `token_weights`."""
        sizes, layout = x.shape[1:-1], WindowLayout(self.window, [0] * len(self.window))
        windows = self.qkv(cut(x, layout))
        mixed, weights = in_windows(windows, self.heads, None, layout, numbered(sizes, x), sizes)
        return self.proj(mixed), [weights]


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
        self.q = nn.Linear(dim, heads * width, bias=qkv_bias)
        self.kv = nn.Linear(dim, 2 * heads * width, bias=qkv_bias)
        self.proj = nn.Linear(heads * width, heads * width)

    def forward(self, x: Tensor) -> Tensor:
        """Return what these heads give."""
        means = cut(x, WindowLayout(self.window, [0] * len(self.window))).mean(1).unflatten(0, (x.shape[0], -1))
        q = self.q(x.flatten(1, -2)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        kv = self.kv(means).unflatten(-1, (2, self.heads, -1))
        k, v = [each.transpose(1, 2) for each in kv.unbind(2)]
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2).unflatten(1, x.shape[1:-1]))

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens, of which those of a window are alike."""
        layout = WindowLayout(self.window, [0] * len(self.window))
        means_BGC = cut(x, layout).mean(1).unflatten(0, (x.shape[0], -1))
        keys_GP = cut(numbered(x.shape[1:-1], x), layout).squeeze(-1) - 1
        q = self.q(x.flatten(1, -2)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(means_BGC).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        side = keys_GP.shape[1]
        shares = softmax_weights(q, k).repeat_interleave(side, -1) / side
        mixed = joined(shares @ v.repeat_interleave(side, 2))
        tokens = TokenWeights(
            shares,
            torch.arange(q.shape[2], device=x.device).expand(len(x), -1),
            keys_GP.flatten().expand(len(x), -1),
            len(x),
            list(x.shape[1:-1]),
        )
        return self.proj(mixed.unflatten(1, x.shape[1:-1])), [tokens]
