"""The weights that fast forms of attention never hold: written out, with the tokens that they belong to.

A token mixer of this package that has such weights has a method beside `forward`,

    with_weights(x, ...) -> (what forward returns, [TokenWeights, ...])

which computes the same output through the weights in plain PyTorch, so that they have a gradient, too. Several
`TokenWeights` are those of several heads. It ignores dropout and is for looking, not for speed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from ...kernels.heads import join_heads, split_heads
from ...kernels.window_attention.layout import WindowLayout, cut, merge
from ...kernels.window_attention.reference import layout_mask
from ...kernels.window_attention.softmax import attention_scores

# B batch, S groups of tokens in all samples, h heads, n queries and m keys of a group, N tokens of a map

MOST_PAIRS = 2**26
"""Pairs of tokens of the largest map that is laid out: 8192 tokens, 256 MiB in float32."""


class TokenWeights(NamedTuple):
    """How some heads weight the tokens of a map, in the groups in which they were computed.

    Attributes:
        weights: (S, h, n, m), the groups of a sample one after the other; for a softmax each row adds up to 1.
        queries: (S, n), numbers of the tokens in raster order; -1 for padding. A token is a query once.
        keys: (S, m), likewise; a token is a key of many groups, or none.
        samples: B.
        grid: sizes of the map, whose product is N.
    """

    weights: Tensor
    queries: Tensor
    keys: Tensor
    samples: int
    grid: list[int]

    def over_map(self, values: Tensor | None = None) -> Tensor:
        """Return weights between all tokens, (B, h, N, N), queries before keys; zero where there are none.

        What the rows of a softmax lack of 1 then went to padding.

        Args:
            values: (S, any, n, m), what to lay out in place of the weights.

        Raises:
            ValueError: there are too many tokens.
        """
        values = self.weights if values is None else values
        tokens = prod(self.grid)
        if tokens**2 > MOST_PAIRS:
            raise ValueError(
                f"a map of {' x '.join(map(str, self.grid))} = {tokens} tokens has {tokens**2:.1e} pairs, more than "
                f"the {MOST_PAIRS:.1e} that are laid out; take a smaller input or a deeper stage"
            )
        groups = self.weights.shape[0] // self.samples
        sample = torch.arange(len(values), device=values.device) // groups
        laid_BNMh = values.new_zeros(self.samples, tokens + 1, tokens + 1, values.shape[1])
        places = sample[:, None, None], self.queries[:, :, None] + 1, self.keys[:, None, :] + 1
        laid_BNMh = laid_BNMh.index_put(places, values.permute(0, 2, 3, 1), accumulate=True)
        return laid_BNMh[:, 1:, 1:].permute(0, 3, 1, 2)


def between_all(weights_BhNN: Tensor, grid: Sequence[int]) -> TokenWeights:
    """Say that weights are those between all tokens of a map."""
    tokens = torch.arange(weights_BhNN.shape[-1], device=weights_BhNN.device).expand(len(weights_BhNN), -1)
    return TokenWeights(weights_BhNN, tokens, tokens, len(weights_BhNN), list(grid))


def shared_out(weights_BhNG: Tensor, tokens_GP: Tensor, grid: Sequence[int]) -> TokenWeights:
    """Say that all tokens of a map weight keys each made of P tokens, to which a key's weight goes in equal shares.

    Args:
        weights_BhNG: (B, h, N, G).
        tokens_GP: (G, P), the numbers of the tokens of which a key is made; -1 for padding.
        grid: sizes of the map.
    """
    samples, parts = len(weights_BhNG), tokens_GP.shape[1]
    queries = torch.arange(weights_BhNG.shape[2], device=tokens_GP.device).expand(samples, -1)
    keys = tokens_GP.flatten().expand(samples, -1)
    return TokenWeights(weights_BhNG.repeat_interleave(parts, -1) / parts, queries, keys, samples, list(grid))


def numbered(grid: Sequence[int], like: Tensor) -> Tensor:
    """Return a map of the numbers of its tokens from 1, (1, *grid, 1), so that what is padded with zeros becomes 0."""
    return torch.arange(1, prod(grid) + 1, device=like.device).view(1, *grid, 1)


def in_windows(
    windows: Tensor,
    heads: int,
    bias: Tensor | None,
    layout: WindowLayout,
    numbers: Tensor,
    grid: Sequence[int],
    weigh: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, TokenWeights]:
    """Return what attention inside windows makes of a map, (B, *sizes, h * d), and its weights.

    Args:
        windows: (S, n, 3 * h * d), queries, keys and values of the windows that `cut` makes.
        heads: of the attention.
        bias: (h, n, n), or None.
        layout: the windows.
        numbers: (1, *sizes, 1), tokens of the map that was cut, as `numbered` gives them; 0 for padding.
        grid: sizes of the map that the numbers belong to.
        weigh: makes weights of scores; None for a softmax over keys.
    """
    sizes = list(numbers.shape[1:-1])
    tokens = cut(numbers, layout).squeeze(-1) - 1
    samples = len(windows) // len(tokens)
    scores, v = window_scores(windows, heads, bias, layout, sizes)
    weights = scores.softmax(-1) if weigh is None else weigh(scores)
    tokens = tokens.repeat(samples, 1)
    mixed = merge(join_heads(weights @ v), sizes, layout)
    return mixed, TokenWeights(weights, tokens, tokens, samples, list(grid))


def window_scores(
    windows: Tensor, heads: int, bias: Tensor | None, layout: WindowLayout, sizes: list[int]
) -> tuple[Tensor, Tensor]:
    """Return the scores inside windows, bias and mask added, (S, heads, N, N), and the values, (S, heads, N, d).

    Args:
        windows: (S, N, 3 * heads * d), queries, keys and values of the windows that `cut` makes.
        heads: of the attention.
        bias: (heads, N, N), or None.
        layout: the windows.
        sizes: of the map.
    """
    q, k, v = [split_heads(each, heads) for each in windows.chunk(3, -1)]
    scores = attention_scores(q, k, bias)
    mask = layout_mask(sizes, layout, windows)
    if mask is not None:
        scores = scores.add_(mask.unsqueeze(1).repeat(windows.shape[0] // mask.shape[0], 1, 1, 1))
    return scores, v
