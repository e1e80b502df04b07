"""The benchmark protocol of super-resolution."""

import math

import pytest
import torch

from foveal.core.errors import UserError
from foveal.core.metrics.super_resolution import super_resolution_scores


def picture(channels: int = 3, seed: int = 0) -> torch.Tensor:
    """An 8-bit picture of 20x24 pixels in 0..1, away from both ends."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(20, 230, (channels, 20, 24), generator=random) / 255


def test_equal_images() -> None:
    scores = super_resolution_scores(picture(), picture(), border=2)
    assert scores["psnr"] == math.inf
    assert scores["ssim"] == pytest.approx(1)


def test_differences_below_half_a_level_and_in_the_border_do_not_count() -> None:
    estimate = picture() + 0.4 / 255
    estimate[:, :4] = 0
    estimate[:, :, -4:] = 7
    assert super_resolution_scores(estimate, picture(), border=4)["psnr"] == math.inf
    assert super_resolution_scores(estimate, picture(), border=3)["psnr"] < 40


def test_a_shift_of_all_channels_in_decibels() -> None:
    estimate = picture() + 3 / 255
    on_luma = super_resolution_scores(estimate, picture(), border=4)["psnr"]
    on_rgb = super_resolution_scores(estimate, picture(), border=4, luma=False)["psnr"]
    assert on_luma == pytest.approx(20 * math.log10(255 / (3 * 219 / 255)))
    assert on_rgb == pytest.approx(20 * math.log10(255 / 3))


def test_grey_is_scored_as_it_is() -> None:
    scores = super_resolution_scores(picture(1) + 3 / 255, picture(1), border=0)
    assert scores["psnr"] == pytest.approx(20 * math.log10(255 / 3))


def test_a_larger_truth_is_cut_at_the_bottom_and_right() -> None:
    assert super_resolution_scores(picture()[:, :18, :21], picture(), border=2)["psnr"] == math.inf


def test_a_smaller_truth_is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        super_resolution_scores(picture(), picture()[:, :18], border=2)


def test_a_tiny_image_is_told() -> None:
    with pytest.raises(UserError, match="14x10"):
        super_resolution_scores(picture(), picture(), border=5)


def test_a_broken_estimate_gets_no_score() -> None:
    estimate = picture()
    estimate[0, 10, 10] = float("nan")
    assert math.isnan(super_resolution_scores(estimate, picture(), border=2)["psnr"])
