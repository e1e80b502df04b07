"""Test-time augmentation: the mean over the eight views of a picture."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from torch import Tensor


def mean_over_views(program: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the mean of a program's outputs over flips and the transpose of the last two axes, each turned back.

    Args:
        program: (N, C, ..., h, w) -> (N, C', ..., s h, s w), for any h and w.
        x: the input, (N, C, ..., h, w).

    Source: "geometric self-ensemble", Lim et al. 2017 (EDSR), section 4.2.
    """
    total = None
    for transpose, *flips in product((False, True), repeat=3):
        axes = [axis for axis, flip in zip((-2, -1), flips, strict=True) if flip]
        view = x.flip(axes)
        result = program(view.mT.contiguous()).mT if transpose else program(view)
        result = result.float().flip(axes)
        total = result if total is None else total.add_(result)
    return total / 8
