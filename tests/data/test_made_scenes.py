import numpy as np

from foveal.data.made_scenes import fractal, made_ground, on_day, under_clouds

SIDE = 48


def test_noise_is_coarse_and_normalised():
    noise = fractal(SIDE, 3.0, np.random.default_rng(0))
    assert noise.shape == (SIDE, SIDE)
    assert abs(noise.mean()) < 1e-5
    assert abs(noise.std() - 1) < 1e-5
    assert np.abs(np.diff(noise)).mean() < 0.5 * np.abs(np.diff(np.random.default_rng(0).permuted(noise))).mean()


def test_fields_are_green_in_their_season():
    ground = made_ground(SIDE, np.random.default_rng(1))
    best, worst = (on_day(ground, share, np.random.default_rng(2)) for share in (0.45, 0.95))
    red, near_infrared = 0, 3
    greenness = [(each[near_infrared] - each[red]) / (each[near_infrared] + each[red]) for each in (best, worst)]
    assert greenness[0].mean() > greenness[1].mean() + 0.1
    assert best.dtype == np.float32
    assert 0 < best.min() < best.max() < 0.7


def test_clouds_cover_what_they_should_and_shade_the_rest():
    land = on_day(made_ground(SIDE, np.random.default_rng(1)), 0.4, np.random.default_rng(2))
    clouded, opacity = under_clouds(land, 0.3, np.random.default_rng(3))
    assert abs((opacity > 0).mean() - 0.3) < 0.02
    open_sky = opacity[0] == 0
    assert (clouded[:, open_sky] <= land[:, open_sky] + 1e-6).all()
    assert (clouded[:, open_sky] < land[:, open_sky] - 1e-3).any()
    assert clouded[0, opacity[0] > 0.6].mean() > 2 * land[0].mean()
