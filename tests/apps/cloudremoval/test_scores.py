import math

import pytest
import torch

from foveal.apps.cloudremoval.scores import compared, mostly_cloudy, scores
from foveal.core.metrics.satellite import cloud_removal_scores, sen2mtc_new_rgb, sen2mtc_old_rgb

SIZE = (16, 20)


def land(seed=0):
    return torch.rand(4, *SIZE, generator=torch.Generator().manual_seed(seed)) / 5


def left():
    cloudy = torch.zeros(SIZE, dtype=torch.bool)
    cloudy[:, :10] = True
    return cloudy


def test_a_pixel_is_cloudy_on_more_than_half_of_the_dates():
    clouds = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1.0]])[:, None, None]
    assert mostly_cloudy(clouds).tolist() == [[False, False, True, True]]
    assert mostly_cloudy(clouds[:2]).tolist() == [[False, False, True, True]]


def test_cloudy_and_clear_pixels_are_told_apart():
    estimate = land()
    estimate[:, :, :10] += 0.1
    found = scores(estimate, land(), left(), "new")
    assert found["mae_b_cloudy"] == pytest.approx(0.1, abs=1e-6)
    assert found["mae_b"] == pytest.approx(0.05, abs=1e-6)
    assert found["mae_b_clear"] == 0
    assert list(found)[:5] == ["psnr_b", "ssim_b", "sam_b", "mae_b", "psnr_b_cloudy"]


@pytest.mark.parametrize(
    ("protocol", "render"), [("new", sen2mtc_new_rgb), ("old", sen2mtc_old_rgb), ("reflectance", sen2mtc_new_rgb)]
)
def test_protocol_a_is_that_of_the_data(protocol, render):
    found = scores(land(1), land(), left(), protocol)
    expected = cloud_removal_scores(*(render(2 * each - 1) for each in (land(1), land())))
    assert found["psnr_a"] == expected["psnr"].item()
    assert found["ssim_a"] == expected["ssim"].item()


def test_without_clouds_cloudy_pixels_have_no_score():
    assert math.isnan(scores(land(1), land(), torch.zeros(SIZE, dtype=torch.bool), "new")["sam_b_cloudy"])


def test_two_bands_have_no_colours_to_show():
    assert "psnr_a" not in scores(land(1)[:2], land()[:2], left(), "new")


def test_methods_are_named():
    found = compared({"": land(1), "median": land(2)}, land(), left(), "new")
    assert {"psnr_b", "median_psnr_b"} < found.keys()
    assert found["median_psnr_b"] == scores(land(2), land(), left(), "new")["psnr_b"]
