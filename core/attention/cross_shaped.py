"""Self-attention inside stripes along each axis, together a cross, with a position encoding from each stripe's values.

Dong et al. 2022: "CSWin Transformer", arXiv 2107.00652, sec. 3.2 (cross-shaped windows) and 3.3 (locally-enhanced
positional encoding).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.linear import linear
from ...kernels.window_attention.layout import WindowLayout, cut, partition, unpartition
from ...kernels.window_attention.reference import attend
from ..blocks.dimensions import CONVOLUTIONS
from ..blocks.linear import Linear
from .token_weights import TokenWeights, in_windows, numbered


class CrossShapedAttention(nn.Module):
    """Self-attention inside stripes of a channels-last map, of some heads along each axis (Dong et al. 2022, sec. 3.2).

    A stripe is the whole map along one axis and `stripe` tokens along the others. Where these do not divide the map it
    is padded on both sides with zeros, which are attended to, after the projection.

    Args:
        dim: channels in and out.
        heads: attention heads; the number of axes must divide it, and it must divide `dim`.
        stripe: width of a stripe in tokens.
        whole: let all heads look at the whole map instead, as the last stage of the networks does.
        qkv_bias: let queries, keys and values have biases.
        axes: of the map.
        drop: dropout of the output, in training.
    Shape: (B, *spatial, C) -> (B, *spatial, C).

    Raises:
        ValueError: heads that do not divide `dim` or that the axes do not divide.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        stripe: int = 7,
        whole: bool = False,
        qkv_bias: bool = True,
        axes: int = 2,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        branches = 1 if whole else axes
        if dim % heads or heads % branches:
            raise ValueError(f"heads {heads} must divide dim {dim} and be a multiple of the {branches} branches")
        self.heads, self.stripe, self.whole = heads, stripe, whole
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        width = dim // branches
        self.encodings = nn.ModuleList(
            CONVOLUTIONS[axes](width, width, 3, padding=1, groups=width) for _ in range(branches)
        )
        self.proj = Linear(dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with what the tokens of each stripe have told one another."""
        sizes = x.shape[1:-1]
        branches = len(self.encodings)
        weight = self.qkv.weight.unflatten(0, [3, branches, x.shape[-1] // branches])
        bias = self.qkv.bias
        mixed: list[Tensor] = []
        for axis, encode in enumerate(self.encodings):
            window, missing = self._stripe(sizes, axis)
            own = None if bias is None else bias.view(3, branches, -1)[:, axis].flatten()
            qkv = linear(x, weight[:, axis].flatten(0, 1), own)
            if max(missing) > 0:  # padding by nothing copies
                qkv = F.pad(qkv, missing)
            stripes = partition(qkv, window, False)
            v = stripes.chunk(3, -1)[2].transpose(1, 2).unflatten(2, window)
            y = attend(stripes, self.heads // branches, None, None) + encode(v).flatten(2).transpose(1, 2)
            mixed.append(trimmed(unpartition(y, qkv.shape[1:-1], window, False), sizes, missing))
        return self.drop(self.proj(torch.cat(mixed, -1)))

    def with_weights(self, x: Tensor) -> tuple[Tensor, list[TokenWeights]]:
        """Return what `forward` does, and the weights of the tokens; see `token_weights`."""
        sizes, share = x.shape[1:-1], self.heads // len(self.encodings)
        qkv = self.qkv(x).unflatten(-1, [3, self.heads, x.shape[-1] // self.heads])
        mixed, found = [], []
        for axis, encode in enumerate(self.encodings):
            window, missing = self._stripe(sizes, axis)
            layout = WindowLayout(window, [0] * len(window))
            stripes = cut(F.pad(qkv[..., axis * share : (axis + 1) * share, :].flatten(-3), missing), layout)
            y, weights = in_windows(stripes, share, None, layout, F.pad(numbered(sizes, x), missing), sizes)
            v = stripes.chunk(3, -1)[2].mT.unflatten(2, window)
            y = y + unpartition(encode(v).flatten(2).mT, y.shape[1:-1], window, False)
            mixed.append(trimmed(y, sizes, missing))
            found.append(weights)
        return self.proj(torch.cat(mixed, -1)), found

    def _stripe(self, sizes: list[int], axis: int) -> tuple[list[int], list[int]]:
        """Return the tokens of a stripe along each axis, and what the map lacks at both ends, the last axis first."""
        window: list[int] = []
        missing = [0, 0]  # none of the channels
        for other, size in enumerate(sizes):
            window.append(size if self.whole or other == axis else self.stripe)
        for other in range(len(sizes) - 1, -1, -1):
            lack = -sizes[other] % window[other]
            missing += [lack // 2, lack - lack // 2]
        return window, missing


def trimmed(x: Tensor, sizes: list[int], missing: list[int]) -> Tensor:
    """Return a map of these sizes, (B, *sizes, C), out of one that was padded by what `missing` says."""
    for axis, size in enumerate(sizes):
        x = x.narrow(axis + 1, missing[-2 - 2 * axis], size)
    return x
