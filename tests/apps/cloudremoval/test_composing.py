import numpy as np
import pytest

from foveal.apps.cloudremoval.composing import ComposedClouds, opacity, turned
from foveal.core.errors import UserError
from foveal.data.datasets.dated_places import DatedPlaces
from foveal.data.datasets.paired_scenes import PairedScenes
from foveal.tests.fixtures.scenes import SIDE, left_half, opened, write_mask, write_scene


@pytest.fixture
def sources(tmp_path):
    """Two clear scenes of reflectance 0.1 and 0.2, and one half under cloud of 0.6, with clear ground of 0.05."""
    for name, level in (("a", 0.1), ("b", 0.2)):
        write_scene(tmp_path / "ground" / f"{name}.tif", level)
    write_scene(tmp_path / "clear" / "c.tif", 0.05)
    write_scene(tmp_path / "cloudy" / "c.tif", 0.05, left_half())
    write_mask(tmp_path / "masks" / "c.tif", left_half())
    ground = PairedScenes(str(tmp_path / "ground"), offset=0, licence="CC0-1.0")
    clouds = {name: str(tmp_path / name) for name in ("clear", "cloudy", "masks")}
    return [ground], [PairedScenes(**clouds, offset=0, licence="CC-BY-4.0")]


def composed(tmp_path, sources, **options):
    return ComposedClouds(*sources, **{"clear_dates": 0, "jitter": 0, "dates": 2} | options).samples(opened(tmp_path))


def test_clouds_hide_the_ground_and_their_own_ground_is_not_pasted(tmp_path, sources):
    samples = composed(tmp_path, sources)
    assert (samples.dates, samples.names, samples.places) == (2, ["a", "b"], {"a", "b", "c"})
    for generator in map(np.random.default_rng, range(6)):
        sample = samples.patch(1, SIDE, generator)
        np.testing.assert_allclose(sample.truth, 0.2, rtol=1e-6)
        assert sample.images.shape == (2, 4, SIDE, SIDE)
        assert sample.clouds.shape == (2, 1, SIDE, SIDE)
        for image, clouds in zip(sample.images, sample.clouds, strict=True):
            assert 0.3 < clouds.mean() < 0.6
            assert image.min() >= 0.199  # never the 0.05 around the cloud
            assert image.max() == pytest.approx(0.6, abs=0.01)
            np.testing.assert_allclose(image[:, clouds[0] == 0], 0.2, atol=0.05)


def test_edges_of_clouds_are_soft():
    alpha = opacity(np.full((4, 40, 40), 0.6, np.float32), left_half(side=40)[None])[0]
    assert alpha.shape == (40, 40)
    assert (np.abs(np.diff(alpha, axis=1)) < 0.35).all()
    assert alpha[:, :10].min() > 0.99
    assert alpha[:, 20:].max() < 0.05


def test_dark_ground_and_thin_lines_that_a_mask_takes_for_cloud_are_left_out():
    assert opacity(np.full((4, 40, 40), 0.08, np.float32), np.ones((1, 40, 40))).max() == 0
    road = np.zeros((1, 40, 40))
    road[:, 20:22] = 1
    assert opacity(np.full((4, 40, 40), 0.6, np.float32), road).max() == 0


def test_samples_follow_from_the_generator_and_cases_are_always_alike(tmp_path, sources):
    samples = composed(tmp_path, sources, jitter=0.1)
    one, same, other = (samples.patch(0, 8, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.images, same.images)
    assert not np.array_equal(one.images, other.images)
    again = composed(tmp_path, sources, jitter=0.1, cases=2)
    cases = again.cases(SIDE)
    assert [case.name for case in cases] == ["a #1", "a #2", "b #1", "b #2"]
    np.testing.assert_array_equal(again.case(cases[0]).images, again.case(cases[0]).images)
    assert not np.array_equal(again.case(cases[0]).images, again.case(cases[1]).images)


def test_dates_may_stay_clear_with_a_gain_of_their_own(tmp_path, sources):
    sample = composed(tmp_path, sources, clear_dates=1, jitter=0.1).patch(0, SIDE, np.random.default_rng(0))
    assert not sample.clouds.any()
    gains = sample.images[:, :, 0, 0] / 0.1
    assert len(np.unique(gains.round(5))) == 8
    assert np.abs(gains - 1).max() < 0.13
    np.testing.assert_allclose(sample.truth, 0.1, rtol=1e-6)


def test_the_nearest_clear_dates_of_the_scene_are_taken(tmp_path, sources):
    for date, level in {"2018-01-01": 0.1, "2018-02-01": 0.12, "2018-02-20": 0.14, "2018-06-01": 0.16}.items():
        write_scene(tmp_path / "places" / "north" / f"{date}.tif", level)
    ground = [DatedPlaces(str(tmp_path / "places"), offset=0)]
    files = opened(tmp_path, find_clouds=lambda values: values[:1] > 0.5)
    for dates, expected in ((3, [0.1, 0.12, 0.14]), (5, [0.1, 0.12, 0.12, 0.14, 0.16])):
        samples = ComposedClouds(ground, sources[1], dates, clear_dates=1, jitter=0).samples(files)
        levels = samples.patch(1, SIDE, np.random.default_rng(0)).images[:, 0, 0, 0]
        np.testing.assert_allclose(levels, expected, rtol=1e-5)


def test_cases_that_are_larger_than_a_cloudy_image_are_refused_before_any_work(tmp_path, sources):
    write_scene(tmp_path / "ground" / "b.tif", 0.2, left_half(0, 2 * SIDE))
    samples = composed(tmp_path, sources)
    with pytest.raises(UserError, match=r"c\.tif: is 20x20 pixels, smaller than a square of 32; lower data\.case_side"):
        samples.cases(32)
    assert len(samples.cases(SIDE)) == 5


def test_licences_are_told_together(sources):
    assert ComposedClouds(*sources).licence == "CC0-1.0; CC-BY-4.0"


def test_nothing_to_compose_is_told(tmp_path, sources):
    with pytest.raises(UserError, match="no image has 80% to 100% cloud to compose with"):
        composed(tmp_path, sources, cover=(0.8, 1.0))
    cloudy = tmp_path / "places" / "north" / "2018-01-01.tif"
    write_scene(cloudy, 0.1)
    files = opened(tmp_path, find_clouds=lambda values: values[:1] > 0.0)
    with pytest.raises(UserError, match=r"no image of the ground has at most 1\.0% cloud"):
        ComposedClouds([DatedPlaces(str(tmp_path / "places"), offset=0)], sources[1]).samples(files)


def test_arrays_are_turned_alike():
    array = np.arange(18).reshape(2, 3, 3)
    seen = set()
    for generator in map(np.random.default_rng, range(40)):
        first, second = turned((array, array[:1]), generator)
        np.testing.assert_array_equal(first[:1], second)
        seen.add(first.tobytes())
    assert len(seen) == 8
