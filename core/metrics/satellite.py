"""Cloud removal scores, by two protocols whose numbers must not be mixed.

Protocol A, of display (Zou et al., "PMAA", ECAI 2023): renderings of 8 bits on RGB, of images as the networks see them.
Protocol B, of reflectance (UnCRtainTS, GeoCR): all bands, nothing stretched, values cut to 0..1.
Images are (..., B, H, W) tensors, RGB first.
"""

import math

import torch
from torch import Tensor

from .image import psnr, ssim, ssim_map
from .spectral import spectral_angle_map


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


def reflectance_scores(estimate: Tensor, truth: Tensor, where: Tensor | None = None) -> dict[str, float]:
    """Score reflectance by protocol B, on all pixels or on some of them.

    PSNR has peak 1, over pixels and bands; SSIM is Gaussian with range 1, the mean of the windows that lie wholly
    inside and are centred on a pixel that counts; SAM is the mean angle between the spectra; MAE the mean absolute
    error.

    Args:
        estimate: (B, H, W) reflectance, cut to 0..1 here.
        truth: the same shape, likewise.
        where: bool (H, W), the pixels that count; None for all.

    Returns:
        {"psnr": decibels, "ssim", "sam": degrees, "mae": reflectance}; not-a-number where no pixel counts.

    Raises:
        UserError: the images are smaller than 11 pixels.
    """
    estimate, truth = (each.double().clamp(0, 1) for each in (estimate, truth))
    where = torch.ones(truth.shape[-2:], dtype=torch.bool) if where is None else where
    similarity = ssim_map(estimate, truth, peak=1.0)
    margin = (truth.shape[-1] - similarity.shape[-1]) // 2
    centres = where[margin : where.shape[0] - margin, margin : where.shape[1] - margin]
    difference = (estimate - truth)[:, where]
    return {
        "psnr": -10 * torch.log10(difference.square().mean()).item(),
        "ssim": similarity[centres].mean().item(),
        "sam": math.degrees(spectral_angle_map(estimate, truth)[where].mean().item()),
        "mae": difference.abs().mean().item(),
    }
