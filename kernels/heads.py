"""The heads of attention: side by side in the channels of a token, or apart. All functions compile as TorchScript."""

from torch import Tensor


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """Take the heads of tokens apart: (..., N, heads * d) -> (..., heads, N, d), without a copy."""
    return tokens.unflatten(-1, [heads, -1]).transpose(-3, -2)


def join_heads(apart: Tensor) -> Tensor:
    """Put the heads of tokens side by side: (..., heads, N, d) -> (..., N, heads * d)."""
    return apart.transpose(-3, -2).flatten(-2)
