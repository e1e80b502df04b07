"""The heads of attention: side by side in the channels of a token, or apart."""

from torch import Tensor


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """Take the heads of tokens apart: (..., N, heads * d) -> (..., heads, N, d), without a copy."""
    return tokens.unflatten(-1, [heads, -1]).transpose(-3, -2)


def join_heads(apart: Tensor) -> Tensor:
    """Put the heads of tokens side by side: (..., heads, N, d) -> (..., N, heads * d)."""
    return apart.transpose(-3, -2).flatten(-2)


def check_heads(dim: int, heads: int) -> None:
    """Refuse heads that do not divide the channels.

    Raises:
        ValueError: there are such, or no heads.
    """
    if heads < 1 or dim % heads:
        raise ValueError(f"heads {heads} must divide dim {dim}")
