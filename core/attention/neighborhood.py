"""Self-attention of each token of a map to those around it.

Hassani et al. 2023: "Neighborhood Attention Transformer", arXiv 2204.07143; dilation: Hassani and Shi 2022, arXiv
2209.15001; stride and causal axes: Hassani et al. 2025, arXiv 2504.16922.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from ...kernels.group_attention.groups import over_axes
from ...kernels.heads import check_heads, join_heads, split_heads
from ...kernels.neighborhood_attention import neighborhood_attention
from ...kernels.neighborhood_attention.axis import Axis, visible
from ...kernels.window_attention.layout import cropped, padded
from ...kernels.window_attention.softmax import softmax_weights
from ..blocks.linear import Linear
from .token_weights import TokenWeights, numbered


class NeighborhoodAttention(nn.Module):
    """Self-attention over the neighbourhoods of a channels-last map with one to three axes (Hassani et al., sec. 3.1).

    Any size is taken as it is: a window longer than an axis becomes the axis. It is traced and exported for one size of
    maps, and does not script.

    Args:
        dim: channels in and out.
        heads: attention heads; must divide `dim`.
        kernel: keys of a token along each axis; their number is the number of the map's axes.
        dilation: distance between these, in tokens; one for all axes or one for each.
        stride: tokens that share their keys, at most `kernel`.
        causal: whether a token sees none after itself.
        position_bias: add a learned bias for each offset of a key; for odd kernels.
        qkv_bias: let queries, keys and values have biases.
        pad_short: pad a short axis with zeros to kernel * dilation, of which then nothing is hidden, as the published
            networks do.
        drop: dropout of the output, in training.
    Shape: (B, *spatial, C) -> (B, *spatial, C).

    Raises:
        ValueError: heads that do not divide `dim`; a stride greater than the kernel; a bias for an even kernel.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        kernel: Sequence[int] = (7, 7),
        dilation: int | Sequence[int] = 1,
        stride: int | Sequence[int] = 1,
        causal: bool | Sequence[bool] = False,
        position_bias: bool = False,
        qkv_bias: bool = True,
        pad_short: bool = False,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.kernel = list(kernel)
        self.dilation, self.stride, self.causal = (
            [each] * len(self.kernel) if isinstance(each, int) else list(each) for each in (dilation, stride, causal)
        )
        check_heads(dim, heads)
        if not all(1 <= s <= k for s, k in zip(self.stride, self.kernel, strict=True)):
            raise ValueError(f"stride {self.stride} must be at least 1 and at most the kernel {self.kernel}")
        if position_bias and any(k % 2 == 0 for k in self.kernel):
            raise ValueError(f"a position bias wants odd kernels, not {self.kernel}")
        self.heads = heads
        self.pad_short = pad_short
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.bias = nn.Parameter(torch.empty(heads, *(2 * k - 1 for k in self.kernel))) if position_bias else None
        if self.bias is not None:
            nn.init.trunc_normal_(self.bias, std=0.02)
        self.proj = Linear(dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with what the tokens of each neighbourhood have told one another."""
        sizes = x.shape[1:-1]
        qkv = self.qkv(self.fitted(x)).unflatten(-1, (3, self.heads, -1))
        mixed = neighborhood_attention(qkv, self.kernel, self.dilation, self.stride, self.causal, self.bias).flatten(-2)
        return self.drop(self.proj(cropped(mixed, sizes)))

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens, made between all of them."""
        sizes = x.shape[1:-1]
        whole, numbers = self.fitted(x), self.fitted(numbered(sizes, x))
        q, k, v = (split_heads(each, self.heads) for each in self.qkv(whole).flatten(1, -2).chunk(3, -1))
        weights = softmax_weights(q, k, self.dense_bias(whole.shape[1:-1]))
        mixed = cropped(join_heads(weights @ v).unflatten(1, whole.shape[1:-1]), sizes)
        tokens = (numbers.flatten() - 1).expand(len(x), -1)
        return self.proj(mixed), [TokenWeights(weights, tokens, tokens, len(x), list(sizes))]

    def dense_bias(self, sizes: Sequence[int]) -> Tensor:
        """Return what is added to the scores between all tokens of a map, (h or 1, N, N): -inf outside of windows."""
        seen, steps = [], []
        for axis, size in enumerate(sizes):
            facts = Axis(size, self.kernel[axis], self.dilation[axis], self.stride[axis], bool(self.causal[axis]))
            place = torch.arange(size, device=self.proj.weight.device)
            bounds = [
                visible(facts, len(range(at % facts.dilation, size, facts.dilation)), at // facts.dilation)
                for at in range(size)
            ]
            low, high = torch.tensor(bounds, device=place.device).T.unsqueeze(-1)
            together = place[:, None] % facts.dilation == place % facts.dilation
            count = place // facts.dilation
            seen.append(together & (low <= count) & (count < high))
            steps.append((count - count[:, None] + facts.kernel - 1).clamp(0, 2 * facts.kernel - 2))
        hidden = ~over_axes(seen, torch.logical_and)
        bias = self.proj.weight.new_zeros(1, *hidden.shape)
        if self.bias is not None:
            strides = [prod(self.bias.shape[axis + 2 :]) for axis in range(len(sizes))]
            pairs = over_axes([step * stride for step, stride in zip(steps, strides, strict=True)], torch.add)
            bias = self.bias.flatten(1)[:, pairs]
        return bias.masked_fill(hidden, -torch.inf)

    def fitted(self, x: Tensor) -> Tensor:
        """Return the map, with zeros at the end of the axes that are shorter than their windows if these are padded."""
        if not self.pad_short:
            return x
        reach = [kernel * dilation for kernel, dilation in zip(self.kernel, self.dilation, strict=True)]
        return padded(x, [max(pair) for pair in zip(x.shape[1:-1], reach, strict=True)])
