"""Images of one place as pictures that can be compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LOW, HIGH = 0.01, 0.99
"""Shares of the pixels of the last image that are black and white."""


def alike_pictures(images: Sequence[Tensor]) -> list[np.ndarray]:
    """Return the first three bands (or the first alone) of each image as colours, all stretched as the last one asks.

    Args:
        images: (B, H, W) each, of one place; the last is free of clouds.

    Returns:
        uint8 (H, W, 3) of each.
    """
    shown = [(image[:3] if len(image) >= 3 else image[:1]).float() for image in images]
    low, high = torch.quantile(shown[-1].flatten(), torch.tensor([LOW, HIGH]))
    stretched = [((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1) for image in shown]
    return [(image.expand(3, -1, -1) * 255).round().byte().permute(1, 2, 0).numpy() for image in stretched]
