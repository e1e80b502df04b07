import numpy as np
import pytest

from foveal.data.io.slide.tissue import clam_mask, tissue_mask
from foveal.tests.fixtures.slide import stained

MPP = 8.0


def pale(image, strength):
    """The same slide less stained."""
    return (243 - (243 - image.astype(float)) * strength).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.25])
def test_finds_the_tissue_and_little_else(strength):
    image = stained(300, 400)
    disc = stained(300, 400)[..., 1] < 200
    mask = tissue_mask(pale(image, strength), MPP)
    assert mask[disc].mean() > 0.99
    assert mask.mean() < disc.mean() * 1.25


def test_nothing_is_tissue_on_blank_glass():
    rng = np.random.default_rng(0)
    for level in (255, 243, 200):
        image = (level + rng.normal(0, 2, (200, 200, 3))).clip(0, 255).astype(np.uint8)
        assert not tissue_mask(image, MPP).any()


def test_black_borders_and_grey_shadows_are_not_tissue():
    image = stained(300, 400)
    plain = tissue_mask(image, MPP)
    image[:40] = 2
    image[:, :30] = 0
    image[260:, 300:] = 170
    assert (tissue_mask(image, MPP) != plain).mean() < 0.01


def test_a_slide_full_of_tissue_is_kept_whole():
    rng = np.random.default_rng(0)
    image = np.full((200, 200, 3), (225, 150, 190)) + rng.normal(0, 4, (200, 200, 3))
    image[50:120] = (90, 60, 140)
    assert tissue_mask(image.clip(0, 255).astype(np.uint8), MPP).mean() > 0.99


def test_a_grey_image_is_tissue_everywhere():
    image = np.repeat(stained(100, 100)[..., :1], 3, axis=2)
    assert tissue_mask(image, MPP).all()


def test_yellow_glass_is_still_glass():
    image = (stained(300, 400) * np.array([1.0, 0.98, 0.93])).astype(np.uint8)
    assert tissue_mask(image, MPP).mean() < 0.4


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 2)])
def test_tiny_overviews(shape):
    assert tissue_mask(np.full((*shape, 3), (225, 150, 190), np.uint8), 0.5).shape == shape


def pink(mask):
    """A slide that is pink where the mask is, and white elsewhere."""
    return np.where(mask[..., None], (225, 150, 190), (245, 245, 245)).astype(np.uint8)


def test_clam_drops_small_pieces_and_keeps_large_holes():
    step = 64.0  # 8 pixels along a side of CLAM's patch, 64 in it
    tissue = np.zeros((400, 400), bool)
    tissue[10:210, 10:210] = True  # 625 patches
    tissue[60:100, 60:100] = False  # 25 of them, a hole that is kept
    tissue[140:160, 140:160] = False  # 6, filled
    tissue[300:370, 300:370] = True  # 77, dropped
    mask = clam_mask(pink(tissue), step)
    wanted = tissue.copy()
    wanted[140:160, 140:160] = True
    wanted[300:370, 300:370] = False
    assert (mask != wanted).mean() < 0.01  # the median and the closing round corners
    assert mask[140:160, 140:160].all()
    assert not mask[65:95, 65:95].any()
    assert clam_mask(pink(tissue), 2 * step)[300:370, 300:370].mean() > 0.95
    assert not clam_mask(pink(tissue), step / 4).any()


def test_clam_keeps_the_eight_largest_holes():
    tissue = np.ones((400, 600), bool)
    corners = [(40 + 100 * (number // 5), 40 + 110 * (number % 5)) for number in range(10)]
    for number, (top, left) in enumerate(corners):
        tissue[top : top + 40 + number, left : left + 40] = False
    mask = clam_mask(pink(tissue), 64.0)
    assert [bool(mask[top + 20, left + 20]) for top, left in corners] == [True, True] + [False] * 8


def test_clam_finds_nothing_on_glass():
    assert not clam_mask(np.full((50, 60, 3), 240, np.uint8), 64.0).any()
