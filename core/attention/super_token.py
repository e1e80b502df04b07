"""Attention between super tokens, which positions share in and read."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.window_attention.layout import WindowLayout, cut, merge, padded_sizes
from ..blocks.channels_last import DepthwiseConvolution
from ..blocks.dimensions import BATCH_NORMS
from ..blocks.drop_path import DropPath
from ..blocks.linear import Linear
from .dense import SelfAttention

# B batch, G cells and super tokens, P positions of a cell, K = 3 ** axes neighbours of a cell, itself included


class SuperTokenAttention(nn.Module):
    """Super token attention (Huang et al. 2023, STViT, arXiv 2211.11167, sec. 3.2).

    Super tokens are the means of cells at first. Each position shares itself out between those of its own and the
    neighbouring cells by the softmax of their products, and super tokens become the means of what they are given. They
    attend to one another, and positions read them back by the same shares. Shares have no gradient.

    Maps are padded with zeros at the end of each axis to whole cells. Around the map there are super tokens of zero,
    which take their shares, as in the authors' code.

    Args:
        dim: channels in and out.
        heads: attention heads of the super tokens; must divide `dim`.
        cell: positions along each axis for one super token; of ones, every position attends to every other.
        iterations: of sharing out.
        qkv_bias: let queries, keys and values have biases.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C) with as many axes as `cell`. Any size.

    Raises:
        ValueError: heads that do not divide `dim`, or no iterations.
    """

    def __init__(
        self, dim: int, heads: int, cell: Sequence[int] = (8, 8), iterations: int = 1, qkv_bias: bool = True
    ) -> None:
        super().__init__()
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1, not {iterations}")
        self.cell = list(cell)
        self.iterations = iterations
        self.attention = SelfAttention(dim, heads, qkv_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed map."""
        if max(self.cell) == 1:
            return self.attention(x)
        sizes = x.shape[1:-1]
        layout = WindowLayout(self.cell, [0] * len(sizes))
        grid = [size // side for size, side in zip(padded_sizes(sizes, self.cell), self.cell)]  # noqa: B905
        near_GK = neighbours(grid, x.device)
        pixels_BGPC = cut(x, layout).unflatten(0, (x.shape[0], -1))
        tokens_BGC = pixels_BGPC.mean(2)
        shares_BGPK = shares(pixels_BGPC, tokens_BGC, near_GK)
        tokens_BGC = given(pixels_BGPC, shares_BGPK, near_GK)
        for _ in range(1, self.iterations):
            shares_BGPK = shares(pixels_BGPC, tokens_BGC, near_GK)
            tokens_BGC = given(pixels_BGPC, shares_BGPK, near_GK)
        tokens_BGC = self.attention(tokens_BGC.unflatten(1, grid)).flatten(1, -2)
        read_BGPC = torch.matmul(shares_BGPK, around(tokens_BGC, near_GK))
        return merge(read_BGPC.flatten(0, 1), sizes, layout)


def neighbours(grid: list[int], device: torch.device) -> Tensor:
    """Return the numbers, from 1, of the cells around each cell of a grid, (G, K), in raster order; 0 for none."""
    count = 1
    for length in grid:
        count *= length
    near = F.pad(torch.arange(1, count + 1, device=device).view(grid), [1, 1] * len(grid))
    for axis in range(len(grid)):
        near = near.unfold(axis, 3, 1)
    return near.reshape(count, -1)


def around(tokens_BGC: Tensor, near_GK: Tensor) -> Tensor:
    """Return the super tokens around each cell, (B, G, K, C), zero where there is none."""
    with_zero = F.pad(tokens_BGC, [0, 0, 1, 0])
    return with_zero.index_select(1, near_GK.flatten()).unflatten(1, near_GK.shape)


def shares(pixels_BGPC: Tensor, tokens_BGC: Tensor, near_GK: Tensor) -> Tensor:
    """Return how positions share themselves out between the super tokens around, (B, G, P, K); they sum to 1."""
    pixels = pixels_BGPC.detach()
    near_BGKC = around(tokens_BGC.detach(), near_GK)
    return (torch.matmul(pixels, near_BGKC.transpose(2, 3)) * float(pixels.shape[-1]) ** -0.5).softmax(-1)


def given(pixels_BGPC: Tensor, shares_BGPK: Tensor, near_GK: Tensor) -> Tensor:
    """Return the mean of what each super token is given, (B, G, C)."""
    gifts_BGKC = torch.matmul(shares_BGPK.transpose(2, 3), pixels_BGPC)
    totals_BGK1 = shares_BGPK.sum(2).unsqueeze(-1)
    return collected(gifts_BGKC, near_GK) / (collected(totals_BGK1, near_GK) + 1e-12)


def collected(gifts_BGKC: Tensor, near_GK: Tensor) -> Tensor:
    """Add up what the cells around give to each super token, (B, G, C)."""
    sums = gifts_BGKC.new_zeros([gifts_BGKC.shape[0], near_GK.shape[0] + 1, gifts_BGKC.shape[3]])
    return sums.index_add(1, near_GK.flatten(), gifts_BGKC.flatten(1, 2))[:, 1:]


class SuperTokenBlock(nn.Module):
    """Block of the super token transformer (Huang et al. 2023, sec. 3.1): convolution, attention, convolutional MLP.

    x + conv(x), x + attention(norm x), x + mlp(batch norm x) with a depth-wise convolution beside the hidden features.

    Args:
        dim: channels in and out.
        heads: attention heads.
        cell: positions along each axis for one super token.
        iterations: of sharing out.
        mlp_ratio: hidden channels of the perceptron, as a multiple of `dim`.
        qkv_bias: let queries, keys and values have biases.
        drop_path: rate of stochastic depth of the attention and the perceptron.
    Shape: channels-last, (B, *spatial, C) -> (B, *spatial, C) with as many axes as `cell`, two or three.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        cell: Sequence[int] = (8, 8),
        iterations: int = 1,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        axes, hidden = len(cell), int(dim * mlp_ratio)
        self.position = DepthwiseConvolution(dim, 3, axes)
        self.norm1 = nn.LayerNorm(dim, 1e-6)
        self.mixer = SuperTokenAttention(dim, heads, cell, iterations, qkv_bias)
        self.norm2 = BATCH_NORMS[axes](dim)
        self.expand = Linear(dim, hidden)
        self.local = DepthwiseConvolution(hidden, 3, axes)
        self.contract = Linear(hidden, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        x = x + self.position(x)
        x = x + self.drop_path(self.mixer(self.norm1(x)))
        hidden = F.gelu(self.expand(self.norm2(x.movedim(-1, 1)).movedim(1, -1)))
        return x + self.drop_path(self.contract(hidden + self.local(hidden)))
