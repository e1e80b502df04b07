import warnings

import numpy as np
import pytest
import tifffile

from foveal.data.io.formats import kind_of
from foveal.tests.fixtures.images import LOSSLESS, pixels


@pytest.mark.parametrize("name", LOSSLESS)
def test_pictures_are_images(tmp_path, name):
    path, _ = LOSSLESS[name](tmp_path)
    assert kind_of(path) == "image"


@pytest.mark.parametrize(
    ("shape", "dtype", "kind"),
    [
        ((20, 30, 3), "uint16", "image"),
        ((20, 30, 4), "uint16", "geotiff"),
        ((20, 30, 2), "uint8", "geotiff"),
        ((20, 30), "float32", "geotiff"),
        ((20, 30), "int16", "geotiff"),
    ],
)
def test_arrays_that_no_image_can_hold_are_rasters(tmp_path, shape, dtype, kind):
    tifffile.imwrite(tmp_path / "a.tif", np.ones(shape, dtype), photometric="minisblack", planarconfig="contig")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kind_of(tmp_path / "a.tif") == kind


def test_colours_with_a_fourth_band_that_is_no_alpha_are_a_raster(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", pixels(4), photometric="rgb", extrasamples=["unspecified"])
    assert kind_of(tmp_path / "a.tif") == "geotiff"


def test_a_pyramid_cut_short_is_left_to_its_source(tmp_path):
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(np.ones((64, 64, 3), np.uint8), subifds=1, photometric="rgb", tile=(16, 16))
        file.write(np.ones((32, 32, 3), np.uint8), subfiletype=1, photometric="rgb", tile=(16, 16))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert kind_of(path, ("slide",)) == "slide"
