import math

import numpy as np
import pytest

from foveal.apps.udc.physics import Panel, UnderDisplay, decoded, encoded, spread
from foveal.core.errors import UserError

BARE = Panel("stripes", 1.0, 168.0, (1.0, 1.0, 1.0), 1.0)
STRIPES = Panel("stripes", 0.25, 200.0, (1.0, 1.0, 1.0), 1.0)


def picture(height=20, width=24):
    return np.random.default_rng(0).random((3, height, width), np.float32)


@pytest.fixture(scope="module")
def stripes():
    """Pixels of a quarter of the distance between the orders of green, of which one wavelength is followed."""
    pixel_um = 0.5 * 6000 / 200 / 4
    return UnderDisplay(
        STRIPES, pixel_um=pixel_um, wavelengths_nm=(750.0, 500.0, 250.0), bandwidth_nm=0.001, reach=10, light="linear"
    )


def test_the_light_of_a_point_is_kept_and_spread_alike_to_both_sides(stripes):
    kernel = stripes.point_spread
    assert kernel.shape == (3, 21, 21)
    assert np.allclose(kernel.sum((1, 2)), 1, atol=1e-5)
    assert np.allclose(kernel, kernel[:, ::-1, ::-1], atol=1e-6)


def test_orders_lie_where_the_grating_equation_says_and_hold_what_the_openings_share(stripes):
    lines = stripes.point_spread[1].sum(0)
    orders = [lines[10 + 4 * order - 1 : 10 + 4 * order + 2].sum() for order in (0, 1, 2)]
    shares = [np.sinc(order * STRIPES.open_area) ** 2 for order in (0, 1, 2)]
    assert np.allclose(np.divide(orders, orders[0]), shares, atol=0.06)


def test_stripes_spread_along_rows_and_longer_waves_farther(stripes):
    red, green, blue = stripes.point_spread
    assert green[8:13].sum() > 0.9
    assert green[:, 8:13].sum() < 0.5
    first_orders = [11 + each.sum(0)[11:].argmax() - 10 for each in (red, green, blue)]
    assert first_orders == [6, 4, 2]


def test_without_a_display_a_fine_pupil_leaves_the_picture(stripes):
    bare = UnderDisplay(BARE, pixel_um=30.0, electrons=1e12, read_noise=0.0, bits=16, reach=2, light="linear")
    assert bare.point_spread[:, 2, 2].min() > 0.85
    smooth = np.full((3, 9, 9), 0.3, np.float32)
    assert np.allclose(bare(smooth, 0), smooth, atol=1e-4)


def test_diamonds_are_as_open_as_the_panel_says():
    for layout in ("stripes", "diamonds"):
        opening = Panel(layout, 0.23, 100.0, (1.0, 1.0, 1.0), 1.0).opening(48)
        assert math.isclose(opening.mean(), 0.23, rel_tol=1e-6)
        assert opening.min() == 0
        assert opening.max() <= 1 + 1e-9


def test_electrons_are_those_of_the_light_that_comes_through():
    camera = UnderDisplay("poled", reach=3)
    exposed = camera.exposed(np.full((3, 8, 9), 0.5, np.float32))
    through = 10_000 * decoded(np.float32(0.5)) * np.array(camera.panel.transmission)
    assert np.allclose(exposed, through[:, None, None], rtol=1e-4)


def test_noise_is_that_of_counting_and_of_reading():
    camera = UnderDisplay(BARE, electrons=1000.0, read_noise=10.0, bits=14, reach=1, light="linear")
    recorded = camera.recorded(np.full((3, 200, 200), 400.0), np.random.default_rng(0)) * 1000
    assert math.isclose(recorded.mean(), 400, rel_tol=2e-3)
    assert math.isclose(recorded.var(), 400 + 10**2, rel_tol=0.02)


def test_the_converter_rounds_and_the_gain_multiplies():
    camera = UnderDisplay(Panel("stripes", 1.0, 168.0, (1.0, 1.0, 1.0), 2.0), bits=3, reach=1, light="linear")
    levels = camera(picture() / 2, 0) * 7
    assert np.allclose(levels, levels.round(), atol=1e-5)
    assert abs(levels.mean() / 7 - picture().mean()) < 0.02


def test_the_same_seed_gives_the_same_noise_and_another_another():
    camera = UnderDisplay("toled", reach=2)
    first, again, other = (camera(picture(), seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32
    assert 0 <= first.min() <= first.max() <= 1


def test_the_displays_look_as_the_benchmarks_do():
    grey = np.full((3, 16, 16), 0.7, np.float32)
    dark, pale = (UnderDisplay(display, reach=2)(grey, 0).mean((1, 2)) for display in ("poled", "toled"))
    assert 0.7 > dark[0] > dark[1] > dark[2]
    assert np.allclose(pale, 0.7, atol=0.01)


def test_spreading_is_the_convolution_with_mirrored_borders():
    kernels = np.random.default_rng(1).random((3, 5, 5), np.float32)
    light = picture(7, 6)
    wide = np.pad(light, ((0, 0), (2, 2), (2, 2)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(wide, (5, 5), axis=(1, 2))
    assert np.allclose(spread(light, kernels), np.einsum("chwij,cij->chw", windows, kernels[:, ::-1, ::-1]), atol=1e-5)


def test_srgb_and_light_are_inverse():
    values = np.linspace(0, 1, 101)
    assert np.allclose(encoded(decoded(values)), values)
    assert math.isclose(decoded(np.array(0.5)), 0.21404, rel_tol=1e-4)


def test_the_digest_tells_cameras_apart_whether_or_not_they_were_used(stripes):
    used, fresh, other = UnderDisplay("poled", reach=2), UnderDisplay("poled", reach=2), UnderDisplay("toled", reach=2)
    _ = used.point_spread
    assert used.digest == fresh.digest != other.digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"display": "oled"}, "display must be one of poled, toled, not 'oled'"),
        ({"display": Panel("stripes", 0.0, 1.0, (1.0, 1.0, 1.0), 1.0)}, "open area and transmission must be above 0"),
        ({"focal_length_mm": -6.0}, "focal_length_mm must be above 0, found -6.0"),
        ({"f_number": -2.0}, "f_number must be above 0, found -2.0"),
        ({"f_number": 0.0}, "f_number must be above 0, found 0.0"),
        ({"read_noise": -1.0}, "must not be negative"),
    ],
)
def test_impossible_cameras_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        UnderDisplay(**options)
