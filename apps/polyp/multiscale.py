"""Multi-scale training: every batch is used at several sizes (Fan et al. 2020, PraNet, sec. 3.1)."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

RATIOS = (0.75, 1.0, 1.25)
"""The published sizes: of squares of 352 pixels, 256, 352 and 448."""


def at_scales(
    image: Tensor, mask: Tensor, ratios: tuple[float, ...] = RATIOS, multiple: int = 32
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a batch at several sizes, each for an optimiser step of its own.

    Args:
        image: (N, C, H, W).
        mask: (N, K, H, W) in 0..1; resized like the image, so that edges become soft.
        ratios: sizes, of the batch's.
        multiple: heights and widths are rounded to multiples of this.
    """
    for ratio in ratios:
        yield resized(image, ratio, multiple), resized(mask, ratio, multiple)


def resized(x: Tensor, ratio: float, multiple: int = 32) -> Tensor:
    """Resize (N, C, H, W) by a ratio, to multiples of `multiple` but at least one, its corners aligned."""
    size = [max(1, round(side * ratio / multiple)) * multiple for side in x.shape[2:]]
    if size == list(x.shape[2:]):
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
