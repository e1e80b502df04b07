import threading

import numpy as np
import pytest
import torch
from torch import nn

from foveal.apps.wsi.encoders import Encoder
from foveal.apps.wsi.extraction import extract, reading_order
from foveal.apps.wsi.tiling import Tiles, plan_tiles
from foveal.core.errors import UserError
from foveal.data.io.slide import SlideSource
from foveal.tests.fixtures.slide import stained, write_tiff

HEIGHT, WIDTH = 301, 405


class Means(nn.Module):
    """The mean of each quarter of each colour."""

    def forward(self, x):
        return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


@pytest.fixture(scope="module")
def image():
    return stained(HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def path(image, tmp_path_factory):
    return write_tiff(tmp_path_factory.mktemp("slide") / "slide.tif", image, levels=2)


def encoder(module=None, mean=0.0, std=1.0, size=None):
    return Encoder("means", module or Means(), 12, (mean,) * 3, (std,) * 3, size, "bilinear", "0")


def quarters(image, x, y, size0):
    """The means of the quarters of a square of the finest level, white beyond it."""
    beyond = np.full((HEIGHT + size0, WIDTH + size0, 3), 255.0)
    beyond[:HEIGHT, :WIDTH] = image
    square = beyond[y : y + size0, x : x + size0] / 255
    half = size0 // 2
    return square.reshape(2, half, 2, half, 3).mean(axis=(1, 3)).transpose(2, 0, 1).reshape(-1)


@pytest.mark.parametrize(("mpp", "size", "error"), [(0.5, 64, 1e-3), (1.0, 32, 4e-3), (0.75, 40, 0.03)])
def test_features_are_of_the_pixels_at_the_coordinates(path, image, mpp, size, error):
    with SlideSource(path, mpp) as source:
        tiles = plan_tiles(source, size, min_tissue=0)
        found = extract(source, tiles, encoder(), batch=5)
    assert found.dtype == np.float16
    expected = [quarters(image, x, y, tiles.size0) for x, y in tiles.coords]
    np.testing.assert_allclose(found, expected, atol=error)  # corners are rounded to pixels of the finest level


def test_tiles_are_normalised_and_resized_for_the_encoder(path, image):
    with SlideSource(path) as source:
        tiles = plan_tiles(source, 64)
        plain = extract(source, tiles, encoder())
        found = extract(source, tiles, encoder(mean=0.5, std=0.25, size=(24, 24)))
    np.testing.assert_allclose(found, (plain.astype(float) - 0.5) * 4, atol=0.03)


def test_any_order_of_coordinates_gives_the_features_in_that_order(path):
    with SlideSource(path) as source:
        tiles = plan_tiles(source, 32)
        order = np.random.default_rng(0).permutation(len(tiles.coords))
        mixed = Tiles(tiles.slide, tiles.coords[order], *list(vars(tiles).values())[2:])
        np.testing.assert_array_equal(
            extract(source, mixed, encoder(), batch=3), extract(source, tiles, encoder(), batch=100)[order]
        )


def test_strips_are_read_one_after_the_other(path, monkeypatch):
    with SlideSource(path) as source:
        monkeypatch.setattr(source, "strip", lambda size: 130)
        tiles = plan_tiles(source, 32, min_tissue=0)
        x, y = tiles.coords[reading_order(source, tiles)].T
    strips = x // 130
    assert (np.diff(strips) >= 0).all()
    for strip in np.unique(strips):
        assert (np.diff(y[strips == strip]) >= 0).all()


def test_what_lies_beyond_the_slide_is_white(path, image):
    with SlideSource(path) as source:
        geometry = source.geometry
        coords = np.array([[WIDTH - 10, HEIGHT - 30], [WIDTH - 1, 0]])
        tiles = Tiles("slide", coords, 64, 64, geometry.mpp, geometry.level0_mpp, geometry.level0_shape)
        found = extract(source, tiles, encoder())
    np.testing.assert_allclose(found, [quarters(image, x, y, 64) for x, y in coords], atol=1e-3)


def test_progress_counts_tiles_and_no_thread_is_left(path):
    told = []
    threads = threading.active_count()
    with SlideSource(path) as source:
        tiles = plan_tiles(source, 32)
        extract(source, tiles, encoder(), batch=4, progress=lambda *counts: told.append(counts))
    count = len(tiles.coords)
    assert told == [(min(done, count), count) for done in range(4, count + 4, 4)]
    assert threading.active_count() == threads


def test_what_goes_wrong_ends_the_reading(path):
    class Stops(nn.Module):
        def forward(self, x):
            raise KeyboardInterrupt

    threads = threading.active_count()
    with SlideSource(path) as source, pytest.raises(KeyboardInterrupt):
        extract(source, plan_tiles(source, 32), encoder(Stops()), batch=2)
    assert threading.active_count() == threads


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_features_that_are_no_numbers_are_refused(path, value):
    class Broken(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 12), value)

    with SlideSource(path) as source, pytest.raises(UserError, match=r"slide\.tif: the encoder means gives"):
        extract(source, plan_tiles(source, 64), encoder(Broken()))
