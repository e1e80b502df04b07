from contextlib import contextmanager

import numpy as np
import pytest
from tests.fixtures.dated_scenes import DAYS, cloud_masks, write_dates, write_masks
from tests.fixtures.geotiff import HEIGHT, WIDTH, write_raster

from foveal.apps.cloudremoval import cloudy_series
from foveal.apps.cloudremoval.cloudy_series import CloudySeries
from foveal.core.errors import UserError
from foveal.data.io.geotiff import GeoTiffSource

WHOLE = slice(0, HEIGHT), slice(0, WIDTH)


@contextmanager
def opened(folder, masks=None, **options):
    with CloudySeries(GeoTiffSource(folder, unit="reflectance", **options), masks) as series:
        yield series


def grown(masks, by=2):
    """Masks whose left edge lies `by` pixels further to the left."""
    wider = masks.copy()
    wider[..., :-by] |= masks[..., by:]
    return wider


def test_dates_are_read_as_reflectance_with_their_clouds(tmp_path):
    _, samples = write_dates(tmp_path)
    with opened(tmp_path) as series:
        assert series.shape == (4, 5, HEIGHT, WIDTH)
        assert [f"{date:%Y-%m-%d}" for date in series.dates] == list(DAYS)
        x = series.read(WHOLE)
        assert x.dtype == np.float32
        assert np.allclose(x[:, :4], samples / 1e4, atol=1e-7)
        assert np.array_equal(x[:, 4], grown(cloud_masks()))


@pytest.mark.parametrize("has_masks", [True, False])
def test_a_window_is_the_same_as_a_part_of_the_whole(tmp_path, has_masks):
    write_dates(tmp_path / "image")
    masks = tmp_path / "masks" if has_masks else None
    write_masks(tmp_path / "masks")
    with opened(tmp_path / "image", masks) as series:
        whole = series.read(WHOLE)
        for left in range(0, WIDTH - 6, 6):
            window = slice(9, 21), slice(left, left + 6)
            assert np.array_equal(series.read(window), whole[..., *window])


def test_pixels_without_data_count_as_cloud_of_their_date(tmp_path):
    files, samples = write_dates(tmp_path, nodata=0)
    samples[1, 2, :11] = 0  # of one band alone
    write_raster(files[1], samples[1], nodata=0)
    with opened(tmp_path, bands=[1, 2, 3, 4]) as series:
        clouds = series.read(WHOLE)[:, 4] > 0
    assert clouds[1, :11].all()
    assert not clouds[1, 11:].any()
    assert np.array_equal(clouds[[0, 2, 3]], grown(cloud_masks())[[0, 2, 3]])


def test_cover_is_counted_once_over_the_scene(tmp_path, monkeypatch):
    files, samples = write_dates(tmp_path / "image", nodata=0)
    samples[..., :10] = 0  # outside the scene on all dates
    samples[1, :, :20] = 0
    for file, each in zip(files, samples, strict=True):
        write_raster(file, each, nodata=0)
    write_masks(tmp_path / "masks")
    monkeypatch.setattr(cloudy_series, "COUNTED", 16)
    clouds = cloud_masks().copy()
    clouds[1, :20] |= True
    with opened(tmp_path / "image", tmp_path / "masks", bands="1,2,3,4") as series:
        inside = samples[0, 0] > 0
        expected = [1 - ((samples[t, 0] > 0) & ~cloud_masks()[t])[inside].mean() for t in range(4)]
        assert np.allclose(series.cover, expected)
        expected = ((samples[:, 0] == 0) | cloud_masks()).all(axis=0)[inside].mean()
        assert series.never_clear == pytest.approx(expected)
        monkeypatch.setattr(series, "clouds", None)
        assert series.cover


def test_of_the_dates_some_are_kept_and_the_others_closed(tmp_path):
    write_dates(tmp_path / "image")
    write_masks(tmp_path / "masks")
    with opened(tmp_path / "image", tmp_path / "masks") as series:
        cover, whole = series.cover, series.read(WHOLE)
        others = [series.source.rasters[0], series.masks.rasters[0]]
        series.keep([1, 3])
        assert all(raster.file.closed for raster in others)
        assert series.shape == (2, 5, HEIGHT, WIDTH)
        assert [file.stem for file in series.files] == [DAYS[1], DAYS[3]]
        assert series.cover == [cover[1], cover[3]]
        assert np.array_equal(series.read(WHOLE), whole[[1, 3]])


def test_windows_without_data_on_any_date_are_empty(tmp_path):
    files, samples = write_dates(tmp_path, nodata=0)
    samples[:, :, :20] = 0
    for file, each in zip(files, samples, strict=True):
        write_raster(file, each, nodata=0)
    with opened(tmp_path, bands=[1, 2, 3, 4]) as series:
        assert series.is_empty((slice(0, 20), slice(0, WIDTH)))
        assert not series.is_empty((slice(0, 21), slice(0, WIDTH)))


def test_clouds_of_other_bands_need_masks(tmp_path):
    write_dates(tmp_path / "image")
    write_masks(tmp_path / "masks")
    with pytest.raises(UserError, match="has 2 bands, clouds are told by .* --bands, or give --masks"):
        CloudySeries(GeoTiffSource(tmp_path / "image", bands=[1, 2], unit="reflectance"))
    with opened(tmp_path / "image", tmp_path / "masks", bands=[1, 2]) as series:
        assert series.shape == (4, 3, HEIGHT, WIDTH)


def test_a_single_raster_is_refused(tmp_path):
    files, _ = write_dates(tmp_path)
    with pytest.raises(UserError, match="is a single raster; give a folder"):
        CloudySeries(GeoTiffSource(files[0], unit="reflectance"))
