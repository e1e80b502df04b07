import numpy as np
import pytest

from foveal.apps.cloudremoval.scene_samples import SeriesSamples, clear_parts, clear_window
from foveal.core.errors import UserError
from foveal.data.datasets.scene_series import Reading, SceneImage, SceneSeries
from foveal.tests.fixtures.geotiff import write_raster
from foveal.tests.fixtures.scenes import SIDE, left_half, opened, scene, write_mask, write_scene

READING = Reading(offset=0)


def image(path, level=0.2, clouds=None, side=SIDE):
    write_scene(path, level) if side == SIDE else write_raster(path, scene(level, side))
    mask = None if clouds is None else write_mask(path.with_name(f"{path.stem}_mask.tif"), clouds)
    return SceneImage((path,), "here", "here", READING, mask)


def series(tmp_path, name="s", dates=2, **truth):
    images = [image(tmp_path / f"{name}{n}.tif", 0.3 + n / 10, left_half(0.25 * n)) for n in range(dates)]
    return SceneSeries(name, tuple(images), image(tmp_path / f"{name}.tif", **{"clouds": left_half(0)} | truth))


def test_a_case_has_all_dates_with_their_clouds_and_the_truth(tmp_path):
    samples = SeriesSamples([series(tmp_path)], opened(tmp_path))
    (case,) = samples.cases(SIDE)
    images, truth, clouds = samples.case(case)
    assert (images.shape, truth.shape, clouds.shape) == ((2, 4, SIDE, SIDE), (4, SIDE, SIDE), (2, 1, SIDE, SIDE))
    np.testing.assert_allclose(images[:, 0, 0, 0], [0.3, 0.4], rtol=1e-6)
    np.testing.assert_allclose(truth, 0.2, rtol=1e-6)
    np.testing.assert_array_equal(clouds[:, 0], [left_half(0), left_half(0.25)])
    assert {each.dtype for each in (images, truth, clouds)} == {np.dtype(np.float32)}


def test_what_does_not_count_is_zero_under_cloud(tmp_path):
    holed = scene(0.3)
    holed[:, 3] = 0
    path = write_raster(tmp_path / "holed.tif", holed, nodata=0)
    truth = image(tmp_path / "truth.tif")
    one = SceneSeries("s", (SceneImage((path,), "here", "here", READING),), truth)
    samples = SeriesSamples([one], opened(tmp_path, find_clouds=lambda values: values[:1] > 0.5))
    sample = samples.case(samples.cases(SIDE)[0])
    assert (sample.images[0, :, 3] == 0).all()
    np.testing.assert_array_equal(sample.clouds[0, 0].sum(axis=1), np.where(np.arange(SIDE) == 3, SIDE, 0))


def test_patches_have_a_clear_truth_where_there_is_one(tmp_path):
    files, generator = opened(tmp_path), np.random.default_rng(0)
    half = image(tmp_path / "a.tif", clouds=left_half())
    for _ in range(8):
        rows, columns = clear_window(files, half, 4, generator)
        assert columns.start >= SIDE // 2
        assert (rows.stop - rows.start, columns.stop - columns.start) == (4, 4)
    all_ = image(tmp_path / "b.tif", clouds=left_half(1.0))
    assert clear_window(files, all_, 4, generator)  # there is none


def test_a_patch_larger_than_a_scene_is_refused(tmp_path):
    samples = SeriesSamples([series(tmp_path)], opened(tmp_path))
    with pytest.raises(UserError, match=r"s\.tif: is 20x20 pixels, smaller than a square of 24; lower data\.patch"):
        samples.patch(0, 24, np.random.default_rng(0))


def test_large_scenes_are_scored_in_parts_whose_truth_is_clear(tmp_path):
    half = image(tmp_path / "a.tif", clouds=left_half())
    parts = clear_parts(opened(tmp_path), half, 8, "a")
    assert [name for name, _ in parts] == ["a 0-16", "a 8-16", "a 16-16"]
    assert all(columns == slice(16, 20) for _, (_, columns) in parts)
    assert [name for name, _ in clear_parts(opened(tmp_path), half, SIDE, "a")] == ["a"]


def test_scenes_that_do_not_fit_one_another_are_refused(tmp_path):
    files = opened(tmp_path)
    with pytest.raises(UserError, match=r"b\.tif: has 1 cloudy dates, a has 2"):
        SeriesSamples([series(tmp_path, "a"), series(tmp_path, "b", 1)], files)
    with pytest.raises(UserError, match=r"c0\.tif: is 20x20 pixels, c\.tif is 12x12; bring the dates"):
        SeriesSamples([series(tmp_path, "c", side=12, clouds=None)], files)
