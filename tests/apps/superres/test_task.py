import math

import numpy as np
import pytest
import torch
from torch import nn

from foveal.apps.superres.task import SuperResolution
from foveal.core.blocks.resampling import bicubic_resize


class Bicubic(nn.Module):
    """A network that is bicubic enlargement, with one weight that adds light."""

    scale = 2
    in_channels = 3
    size_multiple = 1

    def __init__(self):
        super().__init__()
        self.light = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return bicubic_resize(x, 2) + self.light


def case(seed=0):
    high = torch.rand(1, 3, 40, 36, generator=torch.Generator().manual_seed(seed))
    return {"set": ["s"], "name": ["n"], "low": bicubic_resize(high, 0.5).clamp(0, 1), "high": high}


def test_the_network_and_bicubic_are_scored_alike():
    scores, pictures = SuperResolution(Bicubic()).evaluate(case())
    assert scores["psnr"] == scores["bicubic_psnr"]
    assert scores["ssim"] == scores["bicubic_ssim"]
    assert (scores["set"], scores["name"]) == ("s", "n")
    assert len(pictures) == len(SuperResolution.picture_titles)
    assert all(picture.shape == (40, 36, 3) and picture.dtype == np.uint8 for picture in pictures)


def test_the_loss_is_the_mean_absolute_error_unclipped():
    task = SuperResolution(Bicubic())
    low = torch.full((2, 3, 8, 8), 0.9)
    with torch.no_grad():
        task.net.light += 0.5
    loss = task.training_loss((low, torch.ones(2, 3, 16, 16)))
    assert math.isclose(loss.item(), 0.4, rel_tol=1e-5)


def test_the_border_is_the_scale_unless_given():
    assert SuperResolution(Bicubic()).border == 2
    assert SuperResolution(Bicubic(), border=4).border == 4


def test_an_image_too_small_to_score_has_no_value_and_stops_nothing():
    small = {"set": ["s"], "name": ["tiny"], "low": torch.rand(1, 3, 5, 5), "high": torch.rand(1, 3, 10, 10)}
    scores, _ = SuperResolution(Bicubic()).evaluate(small)
    assert math.isnan(scores["psnr"])


def test_the_card_tells_the_scale_and_the_network():
    task = SuperResolution(Bicubic(), licence="CC0-1.0")
    task.network = {"class_path": "foveal.apps.superres.models.dlgsanet.DLGSANet", "init_args": {"scale": 2}}
    card = task.card()
    assert (card.app, card.scale, card.licence) == ("superres", 2, "CC0-1.0")
    assert card.channels == ("red", "green", "blue")
    assert card.network == task.network


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_grey_networks_have_three_channels(channels):
    batch = case()
    batch |= {"low": batch["low"][:, :channels], "high": batch["high"][:, :channels]}
    _, pictures = SuperResolution(Bicubic()).evaluate(batch)
    assert all(picture.shape[2] == 3 for picture in pictures)
