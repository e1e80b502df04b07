from contextlib import contextmanager

import numpy as np
import pytest
import rasterio
from scipy.ndimage import binary_dilation

from foveal.apps.cloudremoval import cloudy_series
from foveal.apps.cloudremoval.cloudy_series import CloudySeries
from foveal.core.errors import UserError
from foveal.data.io.geotiff import GeoTiffSource
from foveal.tests.fixtures.dated import DATES, square, write_place
from foveal.tests.fixtures.geotiff import read_raster

HEIGHT, WIDTH = 50, 61
WHOLE = slice(0, HEIGHT), slice(0, WIDTH)
CLOUDS = np.stack([square(number) for number in range(3)])
SEEN = binary_dilation(CLOUDS, np.ones((1, 5, 5)))
"""As told by their colours: with their edges."""


@contextmanager
def opened(place, masks=False, **options):
    source = GeoTiffSource(place / "image", unit="reflectance", **options)
    with CloudySeries(source, place / "cloud_mask" if masks else None) as series:
        yield series


def stored(place):
    return np.stack([read_raster(file)[0] for file in sorted((place / "image").iterdir())])


def overwrite(place, samples):
    for file, each in zip(sorted((place / "image").iterdir()), samples, strict=True):
        with rasterio.open(file, "r+") as raster:
            raster.write(each)


def test_dates_are_read_as_reflectance_with_their_clouds(tmp_path):
    place = write_place(tmp_path)
    with opened(place) as series:
        assert series.shape == (3, 5, HEIGHT, WIDTH)
        assert [f"{date:%Y-%m-%d}" for date in series.dates] == list(DATES)
        x = series.read(WHOLE)
    assert x.dtype == np.float32
    assert np.allclose(x[:, :4], stored(place) / 1e4, atol=1e-7)
    assert np.array_equal(x[:, 4], SEEN)


@pytest.mark.parametrize("masks", [True, False])
def test_a_window_is_the_same_as_a_part_of_the_whole(tmp_path, masks):
    with opened(write_place(tmp_path), masks) as series:
        whole = series.read(WHOLE)
        for left in range(0, WIDTH - 6, 6):
            window = slice(9, 21), slice(left, left + 6)
            assert np.array_equal(series.read(window), whole[..., *window])


def test_pixels_without_data_count_as_cloud_of_their_date(tmp_path):
    place = write_place(tmp_path, nodata=0)
    samples = stored(place)
    samples[1, 2, :11] = 0  # of one band alone
    overwrite(place, samples)
    with opened(place) as series:
        clouds = series.read(WHOLE)[:, 4] > 0
    assert clouds[1, :11].all()
    clouds[1, :11] = SEEN[1, :11]
    assert np.array_equal(clouds, SEEN)


def test_cover_is_counted_once_over_the_scene(tmp_path, monkeypatch):
    place = write_place(tmp_path, nodata=0)
    samples = stored(place)
    samples[..., :10] = 0  # outside the scene on all dates
    samples[1, :, :20] = 0
    overwrite(place, samples)
    monkeypatch.setattr(cloudy_series, "COUNTED", 16)
    hidden = CLOUDS | (samples[:, 0] == 0)
    with opened(place, masks=True) as series:
        assert np.allclose(series.cover, hidden[..., 10:].mean(axis=(1, 2)))
        assert series.never_clear == pytest.approx(hidden[..., 10:].all(axis=0).mean())
        monkeypatch.setattr(series, "clouds", None)
        assert len(series.cover) == 3


def test_of_the_dates_some_are_kept_and_the_others_closed(tmp_path):
    place = write_place(tmp_path)
    with opened(place, masks=True) as series:
        cover, whole = series.cover, series.read(WHOLE)
        others = [series.source.rasters[1], series.masks.rasters[1]]
        series.keep([0, 2])
        assert all(raster.file.closed for raster in others)
        assert series.shape == (2, 5, HEIGHT, WIDTH)
        assert [file.stem for file in series.files] == [DATES[0], DATES[2]]
        assert series.cover == [cover[0], cover[2]]
        assert np.array_equal(series.read(WHOLE), whole[[0, 2]])


def test_windows_without_data_on_any_date_are_empty(tmp_path):
    place = write_place(tmp_path, nodata=0)
    samples = stored(place)
    samples[:, :, :20] = 0
    overwrite(place, samples)
    with opened(place) as series:
        assert series.is_empty((slice(0, 20), slice(0, WIDTH)))
        assert not series.is_empty((slice(0, 21), slice(0, WIDTH)))


def test_clouds_of_other_bands_need_masks(tmp_path):
    place = write_place(tmp_path)
    with (
        pytest.raises(UserError, match=r"has 2 bands, clouds are told by .* --bands, or give --masks"),
        opened(place, bands=[1, 2]),
    ):
        pass
    with opened(place, masks=True, bands=[1, 2]) as series:
        assert series.shape == (3, 3, HEIGHT, WIDTH)


def test_a_single_raster_is_refused(tmp_path):
    file = write_place(tmp_path) / "image" / f"{DATES[0]}.tif"
    with GeoTiffSource(file) as source, pytest.raises(UserError, match="is a single raster; give a folder"):
        CloudySeries(source)
