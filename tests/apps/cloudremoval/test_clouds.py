import pytest
import torch

from foveal.apps.cloudremoval.clouds import DILATED, REACH, cloud_mask

GROUND = {
    "meadow": (0.06, 0.08, 0.08, 0.30),
    "forest": (0.03, 0.05, 0.07, 0.28),
    "water": (0.04, 0.06, 0.09, 0.02),
    "soil": (0.18, 0.15, 0.13, 0.25),
    "roof tiles": (0.30, 0.18, 0.14, 0.32),
}
CLOUD = (0.5, 0.48, 0.5, 0.55)


def scene(ground, height=32, width=40):
    return torch.tensor(ground).view(4, 1, 1).repeat(1, height, width)


@pytest.mark.parametrize("ground", GROUND.values(), ids=GROUND)
def test_ground_is_clear_and_a_cloud_over_it_is_found_with_its_edge(ground):
    image = scene(ground)
    assert not cloud_mask(image).any()
    image[:, 10:20, 12:25] = torch.tensor(CLOUD).view(4, 1, 1)
    expected = torch.zeros(1, 32, 40, dtype=torch.bool)
    expected[:, 10 - DILATED : 20 + DILATED, 12 - DILATED : 25 + DILATED] = True
    assert torch.equal(cloud_mask(image), expected)


def test_what_is_smaller_than_a_cloud_is_none():
    image = scene(GROUND["meadow"])
    image[:, 10:12, 12:25] = torch.tensor(CLOUD).view(4, 1, 1)
    assert not cloud_mask(image).any()


@pytest.mark.parametrize(
    ("bands", "reason"),
    [
        ((0.10, 0.10, 0.14, 0.2), "dark"),
        ((0.05, 0.05, 0.40, 0.2), "coloured"),
        ((0.40, 0.36, 0.27, 0.5), "not hazy"),
        ((0.05, 0.20, 0.20, 0.6), "dense vegetation"),
    ],
)
def test_each_test_speaks_for_itself(bands, reason):
    assert not cloud_mask(scene(bands)).any(), reason


def test_clouds_reach_to_the_border():
    assert cloud_mask(scene(CLOUD)).all()


def patchwork(*leading, size=60):
    """Patches of cloud and meadow, 5 pixels wide, (*leading, 4, size, size)."""
    is_cloud = torch.rand(*leading, 1, size // 5, size // 5, generator=torch.Generator().manual_seed(0)) < 0.2
    is_cloud = is_cloud.repeat_interleave(5, dim=-1).repeat_interleave(5, dim=-2)
    return torch.where(is_cloud, scene(CLOUD, size, size), scene(GROUND["meadow"], size, size))


def test_any_number_of_leading_axes_gives_the_same():
    dates = patchwork(2, 3, size=25)
    each = torch.stack([torch.stack([cloud_mask(date) for date in place]) for place in dates])
    assert each.any()
    assert not each.all()
    assert torch.equal(cloud_mask(dates), each)


@pytest.mark.parametrize("start", range(12, 20))
def test_pixels_beyond_the_reach_change_nothing(start):
    image = scene(GROUND["meadow"], 50, 50)
    image[:, 25:32] = torch.tensor(CLOUD).view(4, 1, 1)
    image[:, :, 13:15] = torch.tensor(CLOUD).view(4, 1, 1)  # too narrow, which half of it does not show
    inner, around = slice(start, 41), slice(start - REACH, 41 + REACH)
    expected = cloud_mask(image)[:, inner, inner]
    assert torch.equal(cloud_mask(image[:, around, around])[:, REACH:-REACH, REACH:-REACH], expected)


def test_other_bands_are_refused():
    with pytest.raises(ValueError, match="not by 3 bands"):
        cloud_mask(torch.zeros(3, 8, 8))
