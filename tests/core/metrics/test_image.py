"""Image metrics on cases that can be worked out by hand, and SSIM against scikit-image."""

import math

import pytest
import torch
from skimage.metrics import structural_similarity

from foveal.core.errors import UserError
from foveal.core.metrics.image import crop_border, levels, luma, psnr, quantise, ssim, ycbcr


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Uniform values in 0..1, float64."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_levels_clamp_and_round_ties_to_even() -> None:
    values = torch.tensor([-0.2, 0.5 / 255, 1.5 / 255, 2.5 / 255, 1.0, 1.7])
    assert levels(values).tolist() == [0, 0, 2, 2, 255, 255]
    assert quantise(values).dtype == torch.uint8
    assert levels(torch.tensor([float("nan")])).isnan().all()
    assert levels(torch.tensor([7], dtype=torch.uint8)).tolist() == [7]


def test_ycbcr_of_known_colours() -> None:
    black_white_red = torch.tensor([[0.0, 1, 1], [0, 1, 0], [0, 1, 0]]).view(3, 1, 3)
    expected = torch.tensor([[16, 235, 81.481], [128, 128, 90.203], [128, 128, 240]], dtype=torch.float64)
    assert torch.allclose(ycbcr(black_white_red).view(3, 3), expected)
    assert torch.allclose(luma((black_white_red * 255).to(torch.uint8)).flatten(), expected[0])


def test_ycbcr_wants_three_channels() -> None:
    with pytest.raises(ValueError, match="RGB"):
        ycbcr(torch.rand(4, 5, 5))


def test_equal_images() -> None:
    image = noise(2, 3, 12, 13) * 255
    assert psnr(image, image).tolist() == [math.inf, math.inf]
    assert torch.allclose(ssim(image, image), torch.ones(2, dtype=torch.float64))


def test_psnr_of_a_constant_shift() -> None:
    image = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    assert psnr(image + 5, image).item() == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(image - 5, image).item() == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(image / 255 + 0.1, image / 255, peak=1.0).item() == pytest.approx(20, abs=1e-5)
    assert psnr(image / 255, image / 255, peak=1.0, epsilon=1e-8).item() == pytest.approx(80)


def test_ssim_of_two_constants() -> None:
    dark, light = torch.full((1, 11, 11), 50.0), torch.full((1, 11, 11), 60.0)
    c1 = 2.55**2
    assert ssim(dark, light).item() == pytest.approx((2 * 50 * 60 + c1) / (50**2 + 60**2 + c1))


def test_ssim_equals_scikit_image() -> None:
    truth = noise(3, 17, 23) * 255
    estimate = truth + 30 * noise(3, 17, 23, seed=1)
    expected = structural_similarity(
        estimate.numpy(), truth.numpy(), data_range=255, channel_axis=0,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    assert ssim(estimate, truth).item() == pytest.approx(expected, rel=1e-9)
    uniform = torch.full((7,), 1 / 7, dtype=torch.float64)
    expected = structural_similarity(estimate.numpy(), truth.numpy(), data_range=255, channel_axis=0)
    assert ssim(estimate, truth, window=uniform, sample_covariance=True).item() == pytest.approx(expected, rel=1e-9)


def test_scores_are_per_image() -> None:
    truth, estimate = noise(2, 3, 14, 15), noise(2, 3, 14, 15, seed=1)
    assert torch.equal(psnr(estimate, truth)[1], psnr(estimate[1], truth[1]))
    assert torch.equal(ssim(estimate, truth)[1], ssim(estimate[1], truth[1]))


def test_a_tiny_image_has_no_ssim() -> None:
    with pytest.raises(UserError, match=r"at least 11x11 pixels.*30x10"):
        ssim(torch.rand(3, 10, 30), torch.rand(3, 10, 30))


def test_border() -> None:
    image = torch.arange(30).view(1, 5, 6)
    assert crop_border(image, 0).shape == (1, 5, 6)
    assert crop_border(image, 2).tolist() == [[[14, 15]]]
    with pytest.raises(UserError, match="border of 3"):
        crop_border(image, 3)


def test_shapes_must_agree() -> None:
    for score in (psnr, ssim):
        with pytest.raises(ValueError, match="one shape"):
            score(torch.rand(3, 12, 12), torch.rand(1, 12, 12))
