"""What an estimate of a cloud-free image is worth, by both protocols."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...core.metrics.satellite import cloud_removal_scores, reflectance_scores, sen2mtc_new_rgb, sen2mtc_old_rgb

COLOURS = 3
"""Bands that protocol A looks at: red, green and blue, the first ones."""


def mostly_cloudy(clouds: Tensor) -> Tensor:
    """Tell which pixels are cloud on more than half of the dates, (T, 1, H, W) of 0 and 1 -> bool (H, W)."""
    return clouds.mean(dim=0)[0] > 0.5


def scores(estimate: Tensor, truth: Tensor, cloudy: Tensor, protocol: str) -> dict[str, float]:
    """Return the scores of one estimate.

    Protocol B is told of all pixels, of those that are cloudy and of the others, which are clear; not-a-number where
    there are none. Protocol A, of display, is that of the data set; of other data that of Sen2_MTC_New.

    Args:
        estimate: (B, H, W) in 0..1.
        truth: the same shape.
        cloudy: bool (H, W).
        protocol: "old" for the rendering of Sen2_MTC_Old, else that of Sen2_MTC_New.

    Returns:
        {"psnr_b", "ssim_b", "sam_b", "mae_b", the same followed by "_cloudy" and "_clear", "psnr_a", "ssim_a"}; the
        last two need three bands.
    """
    parts = {"": None, "_cloudy": cloudy, "_clear": ~cloudy}
    found = {
        f"{name}_b{part}": value
        for part, where in parts.items()
        for name, value in reflectance_scores(estimate, truth, where).items()
    }
    if len(truth) < COLOURS:
        return found
    render = sen2mtc_old_rgb if protocol == "old" else sen2mtc_new_rgb
    shown = cloud_removal_scores(*(render(2 * image - 1) for image in (estimate, truth)))
    return found | {f"{name}_a": value.item() for name, value in shown.items()}


def compared(estimates: Mapping[str, Tensor], truth: Tensor, cloudy: Tensor, protocol: str) -> dict[str, float]:
    """Return the scores of several estimates; those of a method begin with its name, those of "" have none."""
    return {
        f"{method}_{name}".removeprefix("_"): value
        for method, estimate in estimates.items()
        for name, value in scores(estimate, truth, cloudy, protocol).items()
    }
