"""Blocks of ours, which take channels-last maps, in the layouts of the references."""

import math
import re
from collections.abc import Callable, Sequence

import torch
from parity import Case
from torch import Tensor


def on_tokens(block: Callable[[Tensor], Tensor], sizes: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """Let a block of maps take and return tokens, (B, N, C), that are a map of these sizes."""
    return lambda tokens: block(tokens.unflatten(1, tuple(sizes))).flatten(1, -2)


def channels_first(block: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Let a block of channels-last maps take and return channels-first ones."""
    return lambda x: block(x.movedim(1, -1)).movedim(-1, 1)


def with_residual(block: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Let a block return its input, too."""
    return lambda x: x + block(x)


def square(tokens: int) -> tuple[int, int]:
    """Return the sides of a square map of so many tokens."""
    side = math.isqrt(tokens)
    assert side * side == tokens, f"{tokens} tokens are no square map"
    return side, side


def sizes_of(case: Case, tokens: int) -> tuple[int, ...]:
    """Return the size of the map of so many tokens: as config or notes say (H=13, W=17; H=W=14), else a square."""
    size = case.meta["config"].get("size")
    if size:
        return tuple(size)
    told = re.search(r"H=(?:W=)?(\d+)(?:,? W=(\d+))?", case.meta.get("notes") or "")
    if told:
        return int(told[1]), int(told[2] or told[1])
    return square(tokens)


def weights(case: Case) -> dict[str, Tensor]:
    """Return the weights of a case as tensors, by the reference's names."""
    return {name: torch.from_numpy(value) for name, value in case.weights().items()}
