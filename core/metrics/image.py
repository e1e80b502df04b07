"""Fidelity of images: 8-bit levels, luma, PSNR and SSIM. Images are (..., C, H, W) tensors, colours ordered RGB."""

import torch
from torch import Tensor

from ..errors import UserError


def levels(image: Tensor) -> Tensor:
    """Return the whole numbers 0..255 that an 8-bit file of `image` would hold, as float32.

    Values in 0..1 are clamped, multiplied by 255 and rounded, ties to even; uint8 images have their levels already.
    Not-a-number stays, so that a broken estimate gets no score.
    """
    return image.float() if image.dtype == torch.uint8 else image.float().clamp(0, 1).mul(255).round()


def quantise(image: Tensor) -> Tensor:
    """Return `image`, in 0..1 and clamped to it, as uint8 (ties to even)."""
    return levels(image).to(torch.uint8)


def luma(image: Tensor) -> Tensor:
    """Return the studio-range luma (ITU-R BT.601, MATLAB `rgb2ycbcr`), 16..235, not rounded.

    Args:
        image: (..., 3, H, W) RGB in 0..1, or uint8 in 0..255.

    Returns:
        (..., 1, H, W) float64.
    """
    return ycbcr(image)[..., :1, :, :]


def ycbcr(image: Tensor) -> Tensor:
    """Return studio-range luma and chroma (ITU-R BT.601, MATLAB `rgb2ycbcr`), not rounded.

    Args:
        image: (..., 3, H, W) RGB in 0..1, or uint8 in 0..255.

    Returns:
        (..., 3, H, W) float64: Y in 16..235, Cb and Cr in 16..240.

    Raises:
        ValueError: the image has not three channels.
    """
    if image.ndim < 3 or image.shape[-3] != 3:
        raise ValueError(f"an RGB image (..., 3, H, W) is needed, not shape {tuple(image.shape)}")
    scale = 255.0 if image.dtype == torch.uint8 else 1.0
    red, green, blue = (image.double() / scale).unbind(-3)
    y = 16 + 65.481 * red + 128.553 * green + 24.966 * blue
    cb = 128 - 37.797 * red - 74.203 * green + 112.0 * blue
    cr = 128 + 112.0 * red - 93.786 * green - 18.214 * blue
    return torch.stack((y, cb, cr), dim=-3)


def crop_border(image: Tensor, border: int) -> Tensor:
    """Return `image` without `border` pixels on each of its four sides.

    Raises:
        UserError: nothing would be left.
    """
    height, width = image.shape[-2:]
    if border < 0 or 2 * border >= min(height, width):
        raise UserError(f"cannot remove a border of {border} pixels from an image of {width}x{height} pixels")
    return image[..., border : height - border, border : width - border]


def psnr(estimate: Tensor, truth: Tensor, peak: float = 255.0, epsilon: float = 0.0) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in decibels; infinite where the two are equal.

    Args:
        estimate: (..., C, H, W), any dtype, neither clamped nor rounded here.
        truth: the same shape.
        peak: the largest possible value, in the images' units.
        epsilon: added to the mean squared error; BasicSR's monitoring variant for images in 0..1 adds 1e-8.

    Returns:
        (...) float64.

    Raises:
        ValueError: the shapes differ.
    """
    _check_shapes(estimate, truth)
    error = (estimate.double() - truth.double()).square().mean(dim=(-3, -2, -1))
    return 10 * torch.log10(peak**2 / (error + epsilon))


def gaussian_window(size: int = 11, sigma: float = 1.5) -> Tensor:
    """Return the (size,) taps of a Gaussian that sum to 1; the SSIM window is their outer product."""
    distance = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    taps = torch.exp(-(distance**2) / (2 * sigma**2))
    return taps / taps.sum()


def ssim(
    estimate: Tensor,
    truth: Tensor,
    peak: float = 255.0,
    window: Tensor | None = None,
    sample_covariance: bool = False,
) -> Tensor:
    """Return the structural similarity of each image: mean over channels and over the windows that lie wholly inside.

    Args:
        estimate: (..., C, H, W), any dtype.
        truth: the same shape.
        peak: the range of the values, L in the constants (0.01 L)^2 and (0.03 L)^2.
        window: (K,) taps of the separable window, summing to 1; by default the 11-tap Gaussian with sigma 1.5.
        sample_covariance: divide by n - 1 instead of n, for a uniform window of n pixels.

    Returns:
        (...) float64, at most 1.

    Raises:
        ValueError: the shapes differ.
        UserError: an image is smaller than the window.

    Source: Wang et al. 2004; `calculate_ssim` of BasicSR, `structural_similarity` of scikit-image.
    """
    return ssim_map(estimate, truth, peak, window, sample_covariance).mean(dim=(-2, -1))


def ssim_map(
    estimate: Tensor,
    truth: Tensor,
    peak: float = 255.0,
    window: Tensor | None = None,
    sample_covariance: bool = False,
) -> Tensor:
    """Return the mean over channels of the structural similarity in each window that lies wholly inside, see `ssim`.

    Returns:
        (..., H - K + 1, W - K + 1) float64; the window of each value is centred (K - 1) / 2 pixels further.
    """
    _check_shapes(estimate, truth)
    taps = (gaussian_window() if window is None else window).tolist()
    height, width = truth.shape[-2:]
    if min(height, width) < len(taps):
        size, side = f"{width}x{height}", len(taps)
        raise UserError(f"SSIM needs at least {side}x{side} pixels; after cropping the image has {size}")
    channels = zip(estimate.unbind(-3), truth.unbind(-3), strict=True)
    scores = (_channel_ssim(a.double(), b.double(), peak, taps, sample_covariance) for a, b in channels)
    return sum(scores) / truth.shape[-3]


def _channel_ssim(a: Tensor, b: Tensor, peak: float, taps: list[float], sample_covariance: bool) -> Tensor:
    """Return the SSIM in the windows of (..., H, W) planes; one channel at a time bounds the memory."""
    pixels = len(taps) ** 2
    unbias = pixels / (pixels - 1) if sample_covariance else 1.0
    mean_a, mean_b = _smooth(a, taps), _smooth(b, taps)
    product, power = mean_a * mean_b, mean_a**2 + mean_b**2
    covariance = (_smooth(a * b, taps) - product) * unbias
    variances = (_smooth(a**2 + b**2, taps) - power) * unbias
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    return (2 * product + c1) * (2 * covariance + c2) / ((power + c1) * (variances + c2))


def _smooth(plane: Tensor, taps: list[float]) -> Tensor:
    """Return the weighted mean of every window inside (..., H, W), columns then rows.

    Sums of shifted slices: three times faster than a float64 convolution, which has no fast path on CPU.
    """
    for axis in (-2, -1):
        length = plane.shape[axis] - len(taps) + 1
        total = plane.narrow(axis, 0, length) * taps[0]
        for start, tap in enumerate(taps[1:], start=1):
            total.add_(plane.narrow(axis, start, length), alpha=tap)
        plane = total
    return plane


def _check_shapes(estimate: Tensor, truth: Tensor) -> None:
    if estimate.shape != truth.shape or truth.ndim < 3 or truth.numel() == 0:
        found = f"{tuple(estimate.shape)} and {tuple(truth.shape)}"
        raise ValueError(f"estimate and truth must be of one shape (..., C, H, W), not {found}")
