import math

import numpy as np
import pytest
import torch
from torch import nn

from foveal.apps.udc.task import Restoration
from foveal.core.errors import UserError


class Gain(nn.Module):
    """A network that brings back light, by one weight for all pixels."""

    in_channels = 3
    size_multiple = 4
    smallest_size = 12
    scale = 1

    def __init__(self, gain=2.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x):
        assert not {size % self.size_multiple for size in x.shape[2:]} - {0}
        return self.gain * x


def task(gain=2.0, **options):
    made = Restoration(Gain(gain), **options)
    made.network = {"class_path": "foveal.apps.udc.models.dwformer.DWFormer", "init_args": {}}
    return made


def batch(height=30, width=45):
    clean = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    return {"set": ["s"], "name": ["n"], "low": clean / 4, "high": clean}


def test_the_network_and_its_input_are_scored_alike_at_any_size():
    case, pictures = task().evaluate(batch())
    half, quarter = (10 * math.log10(1 / (batch()["high"].square().mean().item() * rest**2)) for rest in (0.5, 0.75))
    assert math.isclose(case["psnr"], half, rel_tol=1e-5)
    assert math.isclose(case["input_psnr"], quarter, rel_tol=1e-5)
    assert list(case)[2:] == [*("psnr", "psnr_8bit", "ssim"), *("input_psnr", "input_psnr_8bit", "input_ssim")]
    assert len(pictures) == len(Restoration.picture_titles)
    assert all(picture.shape == (30, 45, 3) and picture.dtype == np.uint8 for picture in pictures)


def test_the_loss_is_the_mean_absolute_error_unclipped():
    loss = task(2.0).training_loss((torch.full((2, 3, 12, 12), 0.9), torch.ones(2, 3, 12, 12)))
    assert math.isclose(loss.item(), 0.8, rel_tol=1e-6)


def test_evaluation_cuts_tiles_as_the_card_says():
    whole, tiled = task(), task(tile=16, overlap=4)
    assert tiled.card().tile == 16
    assert torch.allclose(whole.predict_step(batch(), 0), tiled.predict_step(batch(), 0), atol=1e-6)


def test_a_prediction_is_clamped():
    assert task(8.0).predict_step(batch(), 0).max() == 1


def test_the_card_tells_the_network_and_the_licence():
    made = task(licence="CC0-1.0")
    card = made.card()
    assert (card.app, card.scale, card.size_multiple, card.smallest_size) == ("udc", 1, 4, 12)
    assert (card.licence, card.network) == ("CC0-1.0", made.network)


def test_lpips_without_its_weights_is_told_in_one_line(monkeypatch):
    def gone(*_, **__):
        raise OSError("no connection")

    lpip = pytest.importorskip("torchmetrics.image.lpip")
    monkeypatch.setattr(lpip, "LearnedPerceptualImagePatchSimilarity", gone)
    with pytest.raises(UserError, match=r"LPIPS needs torchvision .*no connection.* leave --model\.lpips out"):
        Restoration(Gain(), lpips=True)
