"""Cloud-free images without a network: the baselines that every table names beside it.

Dates are (N, T, bands + 1, h, w): of each its bands, and last 1 where a pixel is cloud or does not count, else 0. Where
all bands of such a pixel are exactly 0, as sources give for no data, the date has nothing to show there and never
contributes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def least_cloudy(x: Tensor, best: int | Sequence[int] | Tensor) -> Tensor:
    """Return the clearest date as it is, with its clouds; where it has no data, the median of the others there.

    Args:
        x: the dates, (N, T, bands + 1, h, w).
        best: which date is the clearest, of all or of each of N.

    Returns:
        (N, bands, h, w).
    """
    number = torch.as_tensor(best, device=x.device).expand(len(x))
    every = torch.arange(len(x), device=x.device)
    missing = _is_missing(x)[every, number]
    image = x[every, number, :-1]
    return torch.where(missing, median_of_clear(x), image) if missing.any() else image


def median_of_clear(x: Tensor) -> Tensor:
    """Return the median of the clear dates of each pixel and band; of all dates with data where none is clear.

    The median of an even number is the mean of the middle two. A pixel without data on any date is 0.

    Args:
        x: the dates, (N, T, bands + 1, h, w).

    Returns:
        (N, bands, h, w).
    """
    is_clear = x[:, :, -1:] == 0
    has_data = ~_is_missing(x)
    counts = torch.where(is_clear.any(dim=1, keepdim=True), is_clear, has_data)
    return _median(x[:, :, :-1], counts)


def _is_missing(x: Tensor) -> Tensor:
    """Tell where dates have no data, bool (N, T, 1, h, w)."""
    return (x[:, :, -1:] != 0) & (x[:, :, :-1] == 0).all(dim=2, keepdim=True)


def _median(values: Tensor, counts: Tensor) -> Tensor:
    """Return the median over the dates that count; 0 where none does. (N, T, bands, h, w) -> (N, bands, h, w)."""
    number = counts.sum(dim=1, keepdim=True)
    ordered = values.masked_fill(~counts, torch.inf).sort(dim=1).values
    middle = ((number - 1) // 2).clamp(min=0), (number // 2).clamp(max=values.shape[1] - 1)
    shape = -1, -1, values.shape[2], -1, -1
    low, high = (ordered.gather(1, each.expand(shape)) for each in middle)
    return torch.where(number > 0, (low + high) / 2, 0).squeeze(1)
