"""Clouds in red, green, blue and near infrared alone.

The tests are those of Fmask that need no other bands (Zhu and Woodcock 2012, "Object-based cloud and cloud shadow
detection in Landsat imagery", Remote Sensing of Environment 118, sec. 3.1.1), with a brightness below which nothing is
cloud in place of the tests of the short-wave and thermal infrared.

Shadows are not marked. Snow, bright roofs, sand and haze over dark ground may count as cloud; thin cirrus may not.

Shapes: H W pixels, about 10 m; the bands are red, green, blue and near infrared, reflectance, mostly 0..1.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

LEAST_BRIGHTNESS = 0.12  # mean of the visible bands
MOST_WHITENESS = 0.7  # equation 2
LEAST_HAZE = 0.08  # equation 3
MOST_NDVI = 0.8  # equation 1: above is dense vegetation
OPENED = 1  # pixels around one that must be cloud too for it to stay: single bright roofs go
DILATED = 2  # pixels around cloud that count as cloud: edges are thin
REACH = 2 * OPENED + DILATED
"""Pixels away that can change the answer for a pixel."""


def cloud_mask(reflectance: Tensor) -> Tensor:
    """Tell which pixels are cloud.

    Args:
        reflectance: (..., 4, H, W): red, green, blue and near infrared; of the top of the atmosphere or the surface.

    Returns:
        bool (..., 1, H, W).

    Raises:
        ValueError: there are not four bands.
    """
    if reflectance.shape[-3] != 4:
        raise ValueError(f"clouds are told by red, green, blue and near infrared, not by {reflectance.shape[-3]} bands")
    found = _spectral(reflectance)
    return _grown(found.reshape(-1, *found.shape[-3:]).float()).view_as(found)


def _spectral(reflectance: Tensor) -> Tensor:
    """Tell which pixels look like cloud by themselves, (..., 4, H, W) -> bool (..., 1, H, W)."""
    red, green, blue, nir = reflectance.split(1, dim=-3)
    brightness = (red + green + blue) / 3
    unevenness = sum((each - brightness).abs() for each in (red, green, blue))
    is_white = unevenness < MOST_WHITENESS * brightness
    is_hazy = blue - 0.5 * red > LEAST_HAZE
    is_bare = nir - red < MOST_NDVI * (nir + red)
    return (brightness > LEAST_BRIGHTNESS) & is_white & is_hazy & is_bare


def _grown(mask: Tensor) -> Tensor:
    """Open a mask and dilate it, by squares, float (N, 1, H, W) -> bool; what lies beyond the borders is left out."""
    kept = -F.max_pool2d(-mask, 2 * OPENED + 1, 1, OPENED)
    radius = OPENED + DILATED  # dilating by one square and by another is dilating by their sum
    return F.max_pool2d(kept, 2 * radius + 1, 1, radius) > 0
