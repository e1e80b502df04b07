"""The part of a picture that is worth looking at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

STEP = 8  # pixels between the places that are compared


def detailed_crops(images: Sequence[Tensor], truth: Tensor, side: int = 256) -> list[np.ndarray]:
    """Return one part of each image: the square in which the truth has the most detail.

    Detail is the mean absolute difference of neighbouring pixels. It is that of the truth alone, so that no method has
    a say in what is shown of it.

    Args:
        images: (C, H, W) each in 0..1, all of the size of the truth; C is 1 or 3.
        truth: (C, H, W).
        side: of the square in pixels; a smaller image is taken whole.

    Returns:
        uint8 (h, w, 3) each.
    """
    top, left = _most_detailed(truth, side)
    return [_pixels(image[:, top : top + side, left : left + side]) for image in images]


def _most_detailed(image: Tensor, side: int) -> tuple[int, int]:
    grey = image.float().mean(dim=0, keepdim=True)
    grey = F.pad(grey[None], (0, 1, 0, 1), mode="replicate")
    across, down = grey.diff(dim=3)[:, :, :-1], grey.diff(dim=2)[..., :-1]
    detail = across.abs() + down.abs()
    height, width = image.shape[1:]
    squares = F.avg_pool2d(detail, (min(side, height), min(side, width)), STEP)
    row, column = divmod(int(squares.argmax()), squares.shape[3])
    return row * STEP, column * STEP


def _pixels(image: Tensor) -> np.ndarray:
    return (image.expand(3, -1, -1).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
