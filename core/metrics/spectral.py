"""Fidelity of hyperspectral cubes. Cubes are (bands, H, W) tensors in 0..1; nothing is clamped or rounded."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .image import psnr, ssim


def band_psnr(estimate: Tensor, truth: Tensor) -> Tensor:
    """Return the PSNR of each band with peak 1 in decibels, (bands,) float64; their mean is MPSNR."""
    return torch.stack([psnr(a[None], b[None], peak=1.0) for a, b in _bands(estimate, truth)])


def band_ssim(estimate: Tensor, truth: Tensor, data_range: float = 1.0) -> Tensor:
    """Return the SSIM of each band, (bands,) float64; their mean is MSSIM.

    A uniform 7x7 window with sample covariance, as scikit-image's default.

    Args:
        estimate: (bands, H, W).
        truth: (bands, H, W).
        data_range: span of the values. The tables of ICVL papers carry 2, which old scikit-image took for float
            images when nobody gave a range.

    Raises:
        UserError: a side is below 7 pixels.
    """
    window = torch.full((7,), 1 / 7, dtype=torch.float64)
    return torch.stack(
        [ssim(a[None], b[None], data_range, window, sample_covariance=True) for a, b in _bands(estimate, truth)]
    )


def spectral_angle(estimate: Tensor, truth: Tensor) -> Tensor:
    """Return the spectral angle (SAM): mean over pixels of the angle between the two spectra, radians, float64."""
    return spectral_angle_map(estimate, truth).mean()


def spectral_angle_map(estimate: Tensor, truth: Tensor) -> Tensor:
    """Return the angle between the two spectra of each pixel, radians, (H, W) float64."""
    tiny = 1e-8
    a, b = estimate.double(), truth.double()
    dot = (a * b).sum(dim=0) + tiny
    lengths = (a.norm(dim=0) + tiny) * (b.norm(dim=0) + tiny)
    return torch.arccos((dot / lengths).clamp(-1, 1))


def _bands(estimate: Tensor, truth: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pair the bands; one at a time bounds the memory of a large cube."""
    return zip(estimate, truth, strict=True)
