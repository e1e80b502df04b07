import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from foveal.apps.cloudremoval.models.cloud_teacher import CloudTeacher
from foveal.apps.cloudremoval.models.date_unet import DateUNet
from foveal.apps.cloudremoval.models.pmaa import PMAA
from foveal.apps.cloudremoval.task import CloudRemoval
from foveal.core.errors import UserError
from foveal.core.weights.card import Card
from foveal.core.weights.load import save_weights

DATES, BANDS = 3, 4


class Mean(nn.Module):
    """A network that gives the mean of the dates, in training with masks of one half and the dates themselves."""

    size_multiple = 4
    smallest_size = 8
    scale = 1
    dates, bands, num_outputs, in_channels = DATES, BANDS, BANDS, DATES * BANDS

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        assert x.shape[2] % self.size_multiple == 0
        dates = x.unflatten(1, (self.dates, self.bands))
        image = self.gain * dates.mean(dim=1)[:, : self.num_outputs]
        return (image, torch.full_like(dates[:, :, :1], 0.5), dates) if self.training else image


class Colours(Mean):
    """The same with red, green and blue alone."""

    num_outputs = 3


def task(net=None, **options):
    torch.manual_seed(0)
    net = net or Mean()
    made = CloudRemoval(net, **{"discriminator_widths": (), "tile": 16, "overlap": 4} | options)
    made.network = {"class_path": f"{PMAA.__module__}.PMAA", "init_args": {}}
    made.log = lambda *_, **__: None
    return made.eval()


def batch(height=21, width=30, number=1):
    """One clear truth; the first date is under a cloud on its left, the second everywhere, the third nowhere."""
    draw = torch.Generator().manual_seed(0)
    truth = torch.rand(number, BANDS, height, width, generator=draw) / 5
    clouds = torch.zeros(number, DATES, 1, height, width)
    clouds[:, 0, :, :, :10], clouds[:, 1] = 1, 1
    images = truth[:, None] * (1 - clouds) + 0.9 * clouds
    return {"images": images, "truth": truth, "clouds": clouds, "set": ["s"], "name": ["n"], "place": ["p"]}


def given(made, **facts):
    """Let a task have data that say this of themselves."""
    told = {"channels": ("red", "green", "blue", "nir"), "unit": "reflectance", "protocol": "new", "patch": 64}
    data = SimpleNamespace(**told | facts, fingerprint=lambda: {"made": True})
    made._trainer = SimpleNamespace(datamodule=data, global_step=0)
    return made


def manual(made, steps):
    """Let a task train without a trainer; the optimisers note what they moved."""

    class Noted(torch.optim.SGD):
        def step(self, closure=None):
            steps.append({id(each) for group in self.param_groups for each in group["params"] if each.grad is not None})
            return super().step(closure)

    modules = [each for each in (made.net, made.discriminator) if each is not None]
    both = [Noted(each.parameters(), 0.01) for each in modules]
    made.optimizers = lambda: both if len(both) > 1 else both[0]
    made.toggle_optimizer = made.untoggle_optimizer = lambda *_: None
    made.manual_backward = lambda loss: loss.backward()
    made.judge = made.learn  # which differs in what a trainer counts alone


def test_the_network_sees_all_bands_of_the_first_date_first_from_minus_one_to_one():
    dates, truth = task().seen(batch())
    assert dates.shape == (1, DATES * BANDS, 21, 30)
    assert torch.allclose(dates[0, 4], 2 * batch()["images"][0, 1, 0] - 1)
    assert torch.allclose(truth, 2 * batch()["truth"] - 1)
    assert task(Colours()).seen(batch())[1].shape[1] == 3


def test_without_a_teacher_masks_learn_from_known_clouds():
    made, data = task(auxiliary_weight=50).train(), batch(24, 32)
    data["clouds"][:, 0] = torch.nan
    dates, truth = made.seen(data)
    image = 100 * (dates.unflatten(1, (DATES, BANDS)).mean(dim=1) - truth).abs().mean()
    masks = DATES * (0.25 * 2 / 3)  # off by one half on two dates; the first is free
    auxiliary = 50 * DATES * (dates.unflatten(1, (DATES, BANDS)) - truth[:, None]).abs().mean()
    assert made.training_loss(data).item() == pytest.approx((image + masks + auxiliary).item(), rel=1e-5)


def test_with_a_teacher_masks_learn_from_it_and_it_is_not_saved(tmp_path):
    net = CloudTeacher(bands=BANDS, dim=2)
    path = tmp_path / "teacher.safetensors"
    network = {"class_path": f"{CloudTeacher.__module__}.CloudTeacher", "init_args": {"bands": BANDS, "dim": 2}}
    save_weights(
        net, Card(name="t", app="cloudremoval", network=network, channels=tuple("rgbn"), tile=64, overlap=8), path
    )
    made = given(task(teacher=path)).train()
    made.setup("fit")
    masks = torch.full((1, DATES, 1, 21, 30), 0.5)
    taught = made._taught(batch(), masks)
    assert torch.allclose(taught[0, 1], net(2 * batch()["images"][0, 1:2] - 1)[0], atol=1e-6)
    assert not [name for name in made.state_dict() if "teacher" in name or "frozen" in name]


def test_a_network_without_masks_learns_from_the_image_alone():
    made = task(DateUNet(widths=(4,) * 6)).train()
    data = batch(32, 32, number=2)
    dates, truth = made.seen(data)
    expected = 100 * (made.net(dates) - truth).abs().mean()
    assert made.training_loss(data).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_discriminator_learns_first_and_then_the_network_from_the_same_images():
    made, steps = task(discriminator_widths=(2, 2)).train(), []
    manual(made, steps)
    made.training_step(batch(24, 32), 0)
    assert steps[0] == {id(each) for each in made.discriminator.parameters()}
    assert steps[1] == {id(each) for each in made.net.parameters()}


def test_without_a_discriminator_the_network_learns_alone():
    made, steps = task().train(), []
    manual(made, steps)
    made.training_step(batch(24, 32), 0)
    assert steps == [{id(made.net.gain)}]
    assert made.net.gain != 1


def test_a_case_is_scored_beside_what_needs_no_network():
    case, pictures = task().evaluate(batch())
    assert {key: case[key] for key in ("set", "name", "place")} == {"set": "s", "name": "n", "place": "p"}
    assert case["least_cloudy_mae_b"] == 0
    assert case["median_mae_b"] == 0
    mean = batch()["images"][0].mean(dim=0)
    assert case["mae_b"] == pytest.approx((mean - batch()["truth"][0]).abs().mean().item(), rel=1e-4)
    assert case["keep_clear_mae_b"] < 1e-6  # the third date is clear throughout
    assert case["cover"] == pytest.approx((1 + 1 / 3) / 3)
    assert math.isclose(case["mae_b"], (case["mae_b_cloudy"] + 2 * case["mae_b_clear"]) / 3, rel_tol=1e-6)
    assert len(pictures) == len(CloudRemoval.picture_titles)
    assert all(picture.shape == (21, 30, 3) and picture.dtype == np.uint8 for picture in pictures)


def test_colours_alone_are_scored_against_colours():
    case, _ = task(Colours()).evaluate(batch())
    colours = (batch()["images"][0].mean(dim=0) - batch()["truth"][0])[:3]
    assert case["mae_b"] == pytest.approx(colours.abs().mean().item(), rel=1e-4)
    assert case["median_mae_b"] == 0


def test_unknown_clouds_are_looked_for():
    data = batch()
    data["clouds"][:] = torch.nan
    case, _ = task().evaluate(data)
    assert case["cover"] > 0.3
    assert case["least_cloudy_mae_b"] == 0


def test_evaluation_cuts_tiles_as_the_card_says():
    whole, tiled = (task(tile=tile).predict_step(batch(), 0) for tile in (64, 16))
    assert torch.allclose(whole, tiled, atol=1e-6)
    assert whole.shape == (1, BANDS, 21, 30)


def test_the_card_tells_dates_unit_and_bands():
    card = given(task(licence="CC-BY-4.0")).card()
    assert (card.dates, card.unit, card.channels) == (DATES, "reflectance", ("red", "green", "blue", "nir"))
    assert (card.mean, card.std, card.outputs) == ((0.5,) * 4, (0.5,) * 4, card.channels)
    assert (card.size_multiple, card.smallest_size, card.tile, card.licence) == (4, 8, 16, "CC-BY-4.0")
    assert card.training["data"] == {"made": True}
    assert task(Colours()).card().outputs == ("red", "green", "blue")


def test_the_table_names_both_protocols_and_draws_places():
    made = task()
    made.cases = [made.evaluate(batch())[0] | {"place": place} for place in "ab"]
    assert "_a: protocol A" in made.results()
    assert "least_cloudy" in made.results()


@pytest.mark.parametrize(
    ("facts", "options", "message"),
    [
        ({"channels": ("red", "green")}, {}, r"bands red, green, the network takes 4; set model\.net"),
        ({"patch": 32}, {"discriminator_widths": (2,) * 5}, r"data\.patch 32: .* 5 halvings needs 64 pixels"),
    ],
)
def test_data_that_do_not_fit_are_refused(facts, options, message):
    with pytest.raises(UserError, match=message):
        given(task(**options), **facts).setup("fit")


def test_other_weights_are_no_teacher(tmp_path):
    net, path = PMAA(dim=2), tmp_path / "pmaa.safetensors"
    network = {"class_path": f"{PMAA.__module__}.PMAA", "init_args": {"dim": 2}}
    facts = {"channels": ("r", "g", "b", "n"), "dates": 3, "smallest_size": net.smallest_size}
    save_weights(net, Card(name="p", app="cloudremoval", network=network, tile=64, overlap=8, **facts), path)
    with pytest.raises(UserError, match=r"pmaa\.safetensors: is no cloud teacher of 4 bands"):
        given(task(teacher=path)).setup("fit")
