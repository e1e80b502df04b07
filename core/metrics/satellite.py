"""Cloud removal scores on Sen2_MTC. Images are (..., B, H, W) tensors as the networks see them, RGB first."""

import torch
from torch import Tensor

from .image import psnr, ssim


def sen2mtc_old_rgb(image: Tensor) -> Tensor:
    """Render an image of the old data set as the metrics see it: -1..1 to 0..255, clamped, cut to whole numbers.

    Args:
        image: (..., B >= 3, H, W) in -1..1.

    Returns:
        (..., 3, H, W) uint8.
    """
    return image[..., :3, :, :].float().add(1).div(2).mul(255).clamp(0, 255).to(torch.uint8)


def sen2mtc_new_rgb(image: Tensor) -> Tensor:
    """Render an image of the new data set as the metrics see it: stretched by its own range.

    Back to digital numbers 0..10000 (whole), clipped to 0..2000, minimum over the three bands taken off, maximum
    scaled to 255, cut to whole numbers; an image of one single value becomes 255 throughout. Prediction and truth are
    stretched each by itself, so a score depends on both ranges.

    Args:
        image: (..., B >= 3, H, W), reflectance 0..1 normalised by mean 1/2 and deviation 1/2.

    Returns:
        (..., 3, H, W) uint8.
    """
    # Adding 1/2 before cutting rounds the digital numbers to the nearest.
    numbers = image[..., :3, :, :].float().mul(0.5).add(0.5).mul(10000).add(0.5).clamp(0, 10000).trunc()
    clipped = numbers.clamp(0, 2000)
    offset = clipped - clipped.amin(dim=(-3, -2, -1), keepdim=True)
    highest = offset.amax(dim=(-3, -2, -1), keepdim=True)
    stretched = torch.where(highest > 0, offset / highest.clamp(min=1), torch.ones_like(offset))
    return (stretched * 255).to(torch.uint8)


def cloud_removal_scores(estimate: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Score renderings as the cloud removal papers do: PSNR with peak 255 and Gaussian SSIM on RGB, no border.

    Args:
        estimate: (..., 3, H, W) uint8.
        truth: (..., 3, H, W) uint8.

    Returns:
        {"psnr": (...), "ssim": (...)} float64, one value per image.
    """
    return {"psnr": psnr(estimate, truth), "ssim": ssim(estimate, truth)}
