"""The super-resolution benchmark protocol (Set5, Set14, BSD100, Urban100, Manga109). Images are (C, H, W) tensors."""

from torch import Tensor

from .image import crop_border, levels, psnr, ssim
from .image import luma as luma_of


def super_resolution_scores(estimate: Tensor, truth: Tensor, border: int, luma: bool = True) -> dict[str, float]:
    """Score one enlarged image as papers do: 8-bit levels, border removed, then luma, PSNR and SSIM with peak 255.

    Args:
        estimate: (C, H, W) in 0..1, not clamped; RGB, or one grey channel that is scored as it is.
        truth: (C, H', W') in 0..1, at least as large; rows and columns beyond the estimate's are cut off.
        border: pixels removed on every side; the usual convention is the scale, DLGSANet's own is 4 for every scale.
        luma: score the luma of RGB images, not the three channels.

    Returns:
        {"psnr": decibels, infinite for equal images, "ssim": at most 1}.

    Raises:
        ValueError: the truth is smaller than the estimate or has other channels.
        UserError: less than 11x11 pixels remain inside the border.
    """
    height, width = estimate.shape[-2:]
    pair = [crop_border(levels(image), border) for image in (estimate, truth[..., :height, :width])]
    if luma and estimate.shape[-3] == 3:
        pair = [luma_of(image.double() / 255) for image in pair]
    return {"psnr": psnr(*pair).item(), "ssim": ssim(*pair).item()}
