"""Multi-scale training: batches are used at several sizes (Fan et al. 2020, PraNet, sec. 3.1)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor


def resized(x: Tensor, ratio: float, multiple: int = 32, mode: Literal["bilinear", "nearest"] = "bilinear") -> Tensor:
    """Resize (N, C, H, W) by a ratio, to multiples of `multiple` but at least one, its corners aligned if bilinear."""
    size = [max(1, round(side * ratio / multiple)) * multiple for side in x.shape[2:]]
    if size == list(x.shape[2:]):
        return x
    return F.interpolate(x, size=size, mode=mode, align_corners=True if mode == "bilinear" else None)
