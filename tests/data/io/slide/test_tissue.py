import numpy as np
import pytest

from foveal.data.io.slide.tissue import tissue_mask
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
