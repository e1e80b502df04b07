"""Offsets between the positions of a map."""

import torch
from torch import Tensor


def offset_index(sizes: list[int], device: torch.device | None = None) -> Tensor:
    """Return for each pair of positions the place of its offset, query minus key, among all offsets of a map.

    Args:
        sizes: positions along each axis.
        device: of the result.

    Returns:
        (N, N) for the N positions, in 0 .. product of (2 size - 1); both in order, the last axis fastest.
    """
    index = torch.zeros([1, 1], dtype=torch.int64, device=device)
    for size in sizes:
        place = torch.arange(size, device=device)
        offset = place[:, None] - place + (size - 1)
        index = (index[:, None, :, None] * (2 * size - 1) + offset[:, None]).flatten(2).flatten(0, 1)
    return index
