import math

import pytest
import torch

from foveal.core.errors import UserError
from foveal.core.metrics.under_display import under_display_scores


def test_the_float_score_neither_clamps_nor_rounds_and_the_other_does():
    truth = torch.ones(3, 16, 16)
    scores = under_display_scores(truth + 0.1, truth)
    assert math.isclose(scores["psnr"], 20, rel_tol=1e-6)
    assert scores["psnr_8bit"] == math.inf
    assert scores["ssim"] == 1


def test_channels_and_pixels_count_alike():
    truth = torch.zeros(3, 16, 16)
    estimate = truth.clone()
    estimate[1] = 0.3
    assert math.isclose(under_display_scores(estimate, truth)["psnr"], -10 * math.log10(0.03), rel_tol=1e-6)


def test_a_picture_smaller_than_the_window_is_refused():
    with pytest.raises(UserError, match="SSIM needs at least 11x11"):
        under_display_scores(torch.zeros(3, 10, 20), torch.zeros(3, 10, 20))
