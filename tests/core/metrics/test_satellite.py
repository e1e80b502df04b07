"""Renderings of Sen2_MTC images that can be worked out by hand."""

import math

import torch

from foveal.core.metrics.satellite import cloud_removal_scores, sen2mtc_new_rgb, sen2mtc_old_rgb


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
