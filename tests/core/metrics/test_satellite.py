"""Renderings of Sen2_MTC images, and scores of reflectance, that can be worked out by hand."""

import math

import pytest
import torch

from foveal.core.metrics.image import ssim
from foveal.core.metrics.satellite import cloud_removal_scores, reflectance_scores, sen2mtc_new_rgb, sen2mtc_old_rgb


def from_numbers(numbers: list[float]) -> torch.Tensor:
    """Normalise digital numbers as the data set does, one row of pixels, the same in four bands."""
    return (torch.tensor(numbers).view(1, 1, -1) / 10000 * 2 - 1).expand(4, 1, -1)


def test_old_images_are_clamped_and_cut() -> None:
    image = torch.tensor([-1.5, -1, 0, 0.999, 1, 1.5]).view(1, 1, 6).expand(4, 1, 6)
    assert sen2mtc_old_rgb(image)[2].flatten().tolist() == [0, 0, 127, 254, 255, 255]


def test_new_images_are_stretched_by_their_own_range() -> None:
    assert sen2mtc_new_rgb(from_numbers([100, 200, 300]))[0].tolist() == [[0, 127, 255]]
    assert sen2mtc_new_rgb(from_numbers([0, 1000, 9000]))[0].tolist() == [[0, 127, 255]]
    assert sen2mtc_new_rgb(from_numbers([-500, 2000]))[0].tolist() == [[0, 255]]


def test_the_range_is_that_of_three_bands_of_one_image() -> None:
    batch = torch.stack([from_numbers([0, 1000]), from_numbers([0, 2000])]).clone()
    batch[0, 1] = from_numbers([2000, 2000])[0]
    batch[:, 3] = 5
    assert sen2mtc_new_rgb(batch)[:, 0].tolist() == [[[0, 127]], [[0, 255]]]


def test_a_flat_image_turns_white() -> None:
    assert (sen2mtc_new_rgb(from_numbers([400, 400])) == 255).all()


def test_scores_of_equal_images() -> None:
    image = sen2mtc_old_rgb(torch.rand(2, 4, 12, 12))
    scores = cloud_removal_scores(image, image)
    assert scores["psnr"].tolist() == [math.inf, math.inf]
    assert torch.allclose(scores["ssim"], torch.ones(2, dtype=torch.float64))


def land() -> torch.Tensor:
    """Reflectance of four bands, 16x20 pixels."""
    return torch.rand(4, 16, 20, generator=torch.Generator().manual_seed(0)) / 2


def test_an_offset_is_scored_by_hand() -> None:
    found = reflectance_scores(land() + 0.1, land())
    assert found["psnr"] == pytest.approx(20, abs=1e-4)
    assert found["mae"] == pytest.approx(0.1, abs=1e-6)
    assert found["ssim"] == pytest.approx(ssim(land() + 0.1, land(), peak=1.0).item())


def test_the_angle_is_in_degrees() -> None:
    red, both = torch.zeros(2, 12, 12), torch.full((2, 12, 12), 0.5)
    red[0] = 0.5
    assert reflectance_scores(both, red)["sam"] == pytest.approx(45, abs=1e-4)


def test_only_the_pixels_asked_for_count() -> None:
    left = torch.zeros(16, 20, dtype=torch.bool)
    left[:, :10] = True
    estimate = land()
    estimate[:, :, 10:] += 0.1
    inside, outside = reflectance_scores(estimate, land(), left), reflectance_scores(estimate, land(), ~left)
    assert inside["mae"] == 0
    assert inside["psnr"] == math.inf
    assert outside["mae"] == pytest.approx(0.1, abs=1e-6)
    assert 1 > inside["ssim"] > outside["ssim"]  # windows of the left side's last columns reach to the right
    whole = reflectance_scores(estimate, land())
    assert whole["ssim"] == pytest.approx((inside["ssim"] + outside["ssim"]) / 2)  # 5 columns of centres each


def test_values_are_cut_to_what_reflectance_is() -> None:
    assert reflectance_scores(land() - 9, land() - 8)["mae"] == 0


def test_no_pixel_has_no_score() -> None:
    nothing = torch.zeros(16, 20, dtype=torch.bool)
    assert all(math.isnan(each) for each in reflectance_scores(land(), land(), nothing).values())
