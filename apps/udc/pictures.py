"""Parts of pictures for sample sheets."""

import numpy as np
from torch import Tensor


def central_picture(image: Tensor, side: int = 256) -> np.ndarray:
    """Return the central `side` x `side` pixels of (C, H, W) in 0..1 as uint8 (H, W, 3); C is 1 or 3."""
    height, width = image.shape[1:]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    crop = image[:, top : top + side, left : left + side].expand(3, -1, -1)
    return (crop.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
