import numpy as np
import pytest
from PIL import Image

from foveal.core.errors import UserError
from foveal.data.datasets.scene_files import SceneFiles
from foveal.data.datasets.scene_series import Reading, SceneImage
from foveal.tests.fixtures.geotiff import write_raster
from foveal.tests.fixtures.scenes import SIDE, left_half, opened, scene, write_mask, write_scene


def image(*files, **options):
    return SceneImage(files, "here", "here", options.pop("reading", Reading(offset=0)), **options)


def test_values_are_reflectance_with_the_bands_in_order(tmp_path):
    levels = np.stack([scene(level)[0] for level in (0.4, 0.1, 0.2, 0.3)])
    path = write_raster(tmp_path / "a.tif", levels, names=("B08", "B04", "B03", "B02"))
    values = opened(tmp_path).values(image(path))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[:, 3, 4], [0.1, 0.2, 0.3, 0.4], rtol=1e-6)


def test_the_offset_of_a_reading_is_added(tmp_path):
    path = write_scene(tmp_path / "a.tif", 0.3)
    shifted = opened(tmp_path).values(image(path, reading=Reading(quantification=5000, offset=-1000)))
    np.testing.assert_allclose(shifted, 0.4, rtol=1e-6)


def test_a_file_that_changed_is_read_anew(tmp_path):
    files = opened(tmp_path)
    path = write_scene(tmp_path / "a.tif", 0.3)
    assert files.values(image(path)).mean() == pytest.approx(0.3)
    path.unlink()
    write_scene(path, 0.1, compress="deflate")
    assert files.values(image(path)).mean() == pytest.approx(0.1)


def test_what_does_not_count_is_nan_and_cloud_but_not_cover(tmp_path):
    array = scene(0.2)
    array[:, :5] = 0
    path = write_raster(tmp_path / "a.tif", array, nodata=0)
    mask = write_mask(tmp_path / "m.tif", left_half())
    files = opened(tmp_path)
    one = image(path, mask=mask)
    assert np.isnan(files.values(one)[:, :5]).all()
    clouds = files.clouds(one)
    assert clouds.shape == (1, SIDE, SIDE)
    assert clouds[0, :5].all()
    np.testing.assert_array_equal(clouds[0, 5:], left_half()[5:])
    assert files.cover(one) == 0.5


@pytest.mark.parametrize(("nodata", "expected"), [(255, 1.0), (0, 0.0)])
def test_where_a_mask_tells_nothing_there_is_cloud_unless_zero_is_what_it_calls_nothing(tmp_path, nodata, expected):
    path = write_scene(tmp_path / "a.tif", 0.2)
    values = np.full((SIDE, SIDE), nodata, np.uint8)
    mask = write_raster(tmp_path / "m.tif", values[None], nodata=nodata)
    assert opened(tmp_path).cover(image(path, mask=mask)) == expected


def test_clouds_are_found_where_there_is_no_mask(tmp_path):
    path = write_scene(tmp_path / "a.tif", 0.2, left_half(0.25))
    found = opened(tmp_path, find_clouds=lambda values: values[:1] > 0.5)
    assert found.cover(image(path)) == 0.25
    assert found.cover(image(path, is_clear=True)) == 0
    assert np.isnan(opened(tmp_path).cover(image(path)))


def test_a_mask_of_another_size_is_refused(tmp_path):
    path = write_scene(tmp_path / "a.tif", 0.2)
    mask = write_mask(tmp_path / "m.tif", left_half(side=12))
    with pytest.raises(UserError, match=r"m\.tif: is 12x12, its image a\.tif is 20x20"):
        opened(tmp_path).clouds(image(path, mask=mask))


@pytest.mark.parametrize(("value", "cover"), [(1, 0.5), (255, 0.5), (9, None)])
def test_masks_of_one_and_of_255_are_the_same_and_those_of_classes_are_refused(tmp_path, value, cover):
    path = write_scene(tmp_path / "a.tif", 0.2)
    mask = write_raster(tmp_path / "m.tif", value * left_half()[None].astype(np.uint8))
    if cover is None:
        with pytest.raises(UserError, match=r"m\.tif: holds 9; a mask has 1 or 255"):
            opened(tmp_path).cover(image(path, mask=mask))
    else:
        assert opened(tmp_path).cover(image(path, mask=mask)) == cover


def picture(path, colour, size=(8, 8)):
    Image.new("RGB", size, colour).save(path, quality=100)
    return path


def test_pictures_give_their_colours_and_the_first_channel_of_the_infrared(tmp_path):
    rgb, infrared = picture(tmp_path / "a.png", (51, 102, 153)), picture(tmp_path / "b.png", (204, 0, 0))
    files = opened(tmp_path, find_clouds=None)
    values = files.values(image(rgb, infrared))
    np.testing.assert_allclose(values[:, 0, 0], [0.2, 0.4, 0.6, 0.8], rtol=1e-6)
    assert np.isnan(files.clouds(image(rgb, infrared))).all()


def test_pictures_are_resized(tmp_path):
    rgb = picture(tmp_path / "a.png", (51, 102, 153))
    assert opened(tmp_path).values(image(rgb, reading=Reading(side=12))).shape == (3, 12, 12)
    with pytest.raises(UserError, match="only squares are resized"):
        opened(tmp_path).values(image(picture(tmp_path / "b.png", 0, (8, 6)), reading=Reading(side=12)))


def test_pictures_of_one_date_have_one_size(tmp_path):
    rgb, infrared = picture(tmp_path / "a.png", 0), picture(tmp_path / "b.png", 0, (8, 6))
    with pytest.raises(UserError, match=r"b\.png: has another size than a\.png"):
        opened(tmp_path).values(image(rgb, infrared))


def test_other_bands_than_the_four_are_never_looked_at_for_clouds(tmp_path):
    path = write_scene(tmp_path / "a.tif", 0.2)
    files: SceneFiles = opened(tmp_path, find_clouds=lambda values: values[:1] > 0.5)
    assert np.isnan(files.clouds(image(path, reading=Reading("1,2", offset=0)))).all()
