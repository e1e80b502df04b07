import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.io.geotiff import GeoTiffSource
from foveal.data.io.geotiff.band_names import band_name
from foveal.tests.fixtures.geotiff import HEIGHT, WIDTH, samples, write_raster

WHOLE = slice(0, HEIGHT), slice(0, WIDTH)
CHANNELS = ("red", "green", "blue", "nir")
ALL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")


@pytest.mark.parametrize(
    ("description", "name"),
    [
        ("B4 red", "red"),
        ("B04", "red"),
        ("b2", "blue"),
        ("B8", "nir"),
        ("B08", "nir"),
        ("NIR", "nir"),
        ("near_infrared", "nir"),
        ("Near Infrared (0.85 - 0.88 um)", "nir"),
        ("SR_B4 (Red)", "red"),
        ("B3, central wavelength 560 nm", "green"),
        ("B8A", "narrow nir"),
        ("B08A", "narrow nir"),
        ("nir08", "narrow nir"),
        ("Narrow NIR", "narrow nir"),
        ("Vegetation red edge", "red edge"),
        ("rededge2", "red edge 2"),
        ("B5", "red edge 1"),
        ("swir1", "swir 1"),
        ("B12", "swir 2"),
        ("thermal infrared", "thermal"),
        ("coastal blue", "coastal"),
        ("G", "green"),
        ("SR_B4", ""),
        ("Band 4", ""),
        ("infrared", ""),
        ("cloud probability", ""),
        ("", ""),
    ],
)
def test_descriptions_tell_what_a_band_shows(description, name):
    assert band_name(description) == name


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("B4 red", "B3 green", "B2 blue", "B8 nir"), (0, 1, 2, 3)),
        (("Blue", "Green", "Red", "NIR"), (2, 1, 0, 3)),
        (ALL, (3, 2, 1, 7)),
    ],
)
def test_bands_are_found_by_what_they_show(tmp_path, names, order):
    array = samples(len(names))
    with GeoTiffSource(write_raster(tmp_path / "a.tif", array, names=names), channels=CHANNELS) as source:
        assert source.channels == tuple(names[index] for index in order)
        assert np.array_equal(source.read(WHOLE), array[list(order)])


def test_each_date_has_an_order_of_its_own(tmp_path):
    array = samples(4)
    write_raster(tmp_path / "2019-01-01.tif", array, names=("red", "green", "blue", "nir"))
    write_raster(tmp_path / "2019-02-01.tif", array[::-1], names=("B8", "B2", "B3", "B4"))
    with GeoTiffSource(tmp_path, channels=CHANNELS) as source:
        assert np.array_equal(source.read(WHOLE), np.stack([array, array]))


def test_a_choice_comes_before_what_the_bands_show(tmp_path):
    array = samples(4)
    path = write_raster(tmp_path / "a.tif", array, names=("red", "green", "blue", "nir"))
    with GeoTiffSource(path, bands=(4, 3, 2, 1), channels=CHANNELS) as source:
        assert np.array_equal(source.read(WHOLE), array[::-1])
    with GeoTiffSource(write_raster(tmp_path / "b.tif", array, names=(*ALL[1:4], "B8")), bands="red,nir") as source:
        assert np.array_equal(source.read(WHOLE), array[[2, 3]])


@pytest.mark.parametrize("names", [(), ("Band 1", "Band 2", "Band 3", "Band 4")])
def test_bands_that_say_nothing_are_taken_in_order(tmp_path, caplog, names):
    array = samples(4)
    with GeoTiffSource(write_raster(tmp_path / "a.tif", array, names=names), channels=CHANNELS) as source:
        assert np.array_equal(source.read(WHOLE), array)
    assert "a.tif: its bands do not say what they show; taken as red, green, blue, nir." in caplog.text


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("B4", "B3", "B2", "B11"), r"no band shows nir; its bands are 1 \(B4\), .*4 \(B11\)\. Choose 4 with --bands"),
        (("red", "green", "blue", "nir", "B8"), r"2 bands show nir; its bands are"),
        (("", "", "", "", ""), r"has 5 bands that do not say what they show, the network takes 4 \(red, .*--bands"),
        (("", "", ""), r"has 3 bands that do not say what they show, .*; give files that hold all of them"),
    ],
)
def test_bands_that_are_missing_or_not_clear_are_refused(tmp_path, names, words):
    path = write_raster(tmp_path / "a.tif", samples(len(names)), names=names)
    with pytest.raises(UserError, match=rf"a\.tif: {words}"):
        GeoTiffSource(path, channels=CHANNELS)


def test_colours_of_a_picture_tell_too(tmp_path):
    path = write_raster(tmp_path / "a.tif", samples(3, "uint8"), photometric="rgb")
    with pytest.raises(UserError, match=r"no band shows nir; its bands are 1 \(red\), 2 \(green\), 3 \(blue\)"):
        GeoTiffSource(path, channels=CHANNELS)


def test_a_fourth_band_that_is_near_infrared_is_not_alpha(tmp_path):
    array = samples(4, "uint8")
    path = write_raster(tmp_path / "a.tif", array, names=CHANNELS, photometric="rgb", alpha="yes")
    with GeoTiffSource(path, channels=CHANNELS) as source:
        assert np.array_equal(source.read(WHOLE), array)
        assert not source.may_have_invalid
