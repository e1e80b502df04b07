"""Scores of the benchmark of under-display cameras (UDC 2020, T-OLED and P-OLED). Images are (C, H, W) tensors."""

from torch import Tensor

from .image import levels, psnr, ssim


def under_display_scores(estimate: Tensor, truth: Tensor) -> dict[str, float]:
    """Score one restored picture over all its pixels and channels.

    Args:
        estimate: (C, H, W) in 0..1, not clamped.
        truth: the same shape, in 0..1.

    Returns:
        {"psnr": decibels of the values as they are, as the validation of DWFormer's authors; "psnr_8bit": of the 8-bit
        levels, as the challenge's server; "ssim": of these, the mean of the channels}. PSNR of equals is infinite.

    Raises:
        ValueError: the shapes differ.
        UserError: a side is shorter than the 11 pixels of the SSIM window.
    """
    pair = levels(estimate), levels(truth)
    return {
        "psnr": psnr(estimate, truth, peak=1.0).item(),
        "psnr_8bit": psnr(*pair).item(),
        "ssim": ssim(*pair).item(),
    }
