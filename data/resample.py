"""Resampling of volumes axis by axis: images by cubic convolution, labels and probabilities linearly.

A grid of other numbers of samples covers the same extent: sample j of m lies at (j + 1/2) n/m - 1/2 of n. Arrays are
(C, D, H, W). Every output sample is computed alike whatever is computed with it, so that parts fit each other exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from ..core.blocks.resampling import cubic_taps, weighted_lines


class Taps(NamedTuple):
    """Which input samples make each output sample along an axis.

    Attributes:
        index: of the input samples, int64 (output samples, taps).
        weights: of these, float32 (output samples, taps); they sum to one.
    """

    index: Tensor
    weights: Tensor

    @property
    def changes(self) -> bool:
        """Tell whether the output is another than the input."""
        return self.index.shape[1] > 1 or not torch.equal(self.index[:, 0], torch.arange(len(self.index)))

    def part(self, start: int, stop: int, origin: int) -> Taps:
        """Return the taps of some output samples, where the input at hand begins with the sample `origin`."""
        return Taps(self.index[start:stop] - origin, self.weights[start:stop])


def cubic(size: int, made: int) -> Taps:
    """Return Keys' cubic convolution, widened where there are fewer samples than before, mirrored at the ends.

    Args:
        size: input samples.
        made: output samples.
    """
    if size == made:
        return nearest(size, made)
    index, weights = cubic_taps(size, Fraction(made, size))
    return Taps(index, weights.float())


def linear(size: int, made: int) -> Taps:
    """Return linear interpolation between two samples, constant beyond the first and last; as `cubic`."""
    if size == made:
        return nearest(size, made)
    place = ((torch.arange(made, dtype=torch.float64) + 0.5) * size / made - 0.5).clamp(0, size - 1)
    low = place.floor().long().clamp(max=max(size - 2, 0))
    share = place - low
    return Taps(torch.stack([low, (low + 1).clamp(max=size - 1)], 1), torch.stack([1 - share, share], 1).float())


def nearest(size: int, made: int) -> Taps:
    """Return the nearest sample; as `cubic`."""
    index = (2 * torch.arange(made) + 1) * size // (2 * made)
    return Taps(index[:, None], torch.ones(made, 1))


def resampled(values: Tensor, taps: Sequence[Taps]) -> Tensor:
    """Resample the last axes of float32 values, one taps for each."""
    for axis, each in enumerate(taps, start=values.ndim - len(taps)):
        if each.changes:
            values = weighted_lines(values, axis, *each)
    return values


def resampled_labels(labels: Tensor, taps: Sequence[Taps]) -> Tensor:
    """Resample labels: the one that linear interpolation of the masks of all labels gives the most of.

    Of equal ones the highest is taken, as in nnU-Net, so that thin structures are not lost to the background.

    Args:
        labels: uint8 (D, H, W).
        taps: for each axis.
    """
    best, result = None, None
    for label in labels.unique():
        share = resampled((labels == label).float(), taps)
        if best is None:
            best, result = share, torch.full(share.shape, int(label), dtype=labels.dtype)
            continue
        result[share >= best] = label
        best = torch.maximum(best, share)
    return result
