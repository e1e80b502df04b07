"""Weights for losses of unequally frequent classes."""

from collections.abc import Sequence

import torch
from torch import Tensor


def balanced_weights(counts: Sequence[int]) -> Tensor:
    """Return a weight for each class, so that every class weighs as much as any other; 1 on the mean over cases.

    Weight of class c: cases / (classes * cases of c), King and Zeng 2001.

    Args:
        counts: cases of each class, (N,).

    Returns:
        (N,) float32.

    Raises:
        ValueError: a class has no cases.
    """
    cases = torch.tensor(list(counts), dtype=torch.float32)
    if not len(cases) or not bool((cases > 0).all()):
        raise ValueError(f"every class needs cases, not {list(counts)}")
    return cases.sum() / (len(cases) * cases)
