"""Hyperspectral metrics on cases that can be worked out by hand."""

import math

import pytest
import torch
from skimage.metrics import structural_similarity

from foveal.core.errors import UserError
from foveal.core.metrics.spectral import band_psnr, band_ssim, spectral_angle


def cube(seed: int = 0) -> torch.Tensor:
    """A cube of 4 bands, 9x10 pixels, float64 in 0..1."""
    return torch.rand(4, 9, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equal_cubes() -> None:
    assert band_psnr(cube(), cube()).tolist() == [math.inf] * 4
    assert torch.allclose(band_ssim(cube(), cube()), torch.ones(4, dtype=torch.float64))
    assert spectral_angle(cube(), cube()).item() == pytest.approx(0, abs=1e-3)


def test_each_band_has_its_own_psnr() -> None:
    shift = torch.tensor([0.1, 0.01, 1.0, 0.0])
    found = band_psnr(cube() + shift[:, None, None].double(), cube())
    assert found.tolist() == pytest.approx([20, 40, 0, math.inf], abs=1e-6)


@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_ssim_equals_scikit_image_by_default(data_range: float) -> None:
    truth, estimate = cube(), cube() + 0.2 * cube(1)
    expected = [
        structural_similarity(a.numpy(), b.numpy(), data_range=data_range) for a, b in zip(estimate, truth, strict=True)
    ]
    assert band_ssim(estimate, truth, data_range).tolist() == pytest.approx(expected, rel=1e-9)


def test_angles_between_known_spectra() -> None:
    red, green = torch.zeros(2, 3, 3), torch.zeros(2, 3, 3)
    red[0], green[1] = 1, 0.2
    assert spectral_angle(red, green).item() == pytest.approx(math.pi / 2, abs=1e-6)
    assert spectral_angle(red, 0.5 * red + 2.5 * green).item() == pytest.approx(math.pi / 4, abs=1e-6)
    assert spectral_angle(red, 7 * red).item() == pytest.approx(0, abs=1e-3)


def test_a_tiny_cube_has_no_ssim() -> None:
    with pytest.raises(UserError, match="7x7"):
        band_ssim(cube()[:, :6], cube()[:, :6])


def test_bands_must_agree() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        band_psnr(cube(), cube()[:3])
