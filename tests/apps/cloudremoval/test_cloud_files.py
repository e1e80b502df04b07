import numpy as np
import pytest
from affine import Affine

from foveal.apps.cloudremoval.cloud_files import CloudFiles
from foveal.core.errors import UserError
from foveal.data.io.geotiff import GeoTiffSource
from foveal.tests.fixtures.dated import DATES, square, write_place
from foveal.tests.fixtures.geotiff import NORTH_UP, write_raster

HEIGHT, WIDTH = 50, 61
WHOLE = slice(0, HEIGHT), slice(0, WIDTH)
CLOUDS = np.stack([square(number) for number in range(3)])


def read(folder, masks, window=WHOLE, **options):
    with GeoTiffSource(folder) as source:
        files = CloudFiles(masks, source, **options)
        clouds = files.read(window)
        files.close()
    return clouds


def write_masks(folder, values=CLOUDS, name="{}", **options):
    folder.mkdir()
    return [
        write_raster(folder / f"{name.format(date)}.tif", each[None].astype(np.uint8), **options)
        for date, each in zip(DATES, values, strict=True)
    ]


@pytest.fixture
def scenes(tmp_path):
    return write_place(tmp_path / "place", masks=False) / "image"


@pytest.mark.parametrize("name", ["{}", "MSK_{}T101141_clouds"])
def test_masks_belong_to_dates_by_name_or_day(tmp_path, scenes, name):
    files = write_masks(tmp_path / "masks", name=name)
    window = slice(3, 30), slice(20, WIDTH)
    assert np.array_equal(read(scenes, tmp_path / "masks"), CLOUDS)
    assert np.array_equal(read(scenes, files[::-1], window), CLOUDS[..., *window])


def test_names_decide_where_no_dates_are_known(tmp_path):
    for folder, bands in (("image", 2), ("masks", 1)):
        (tmp_path / folder).mkdir()
        for number, name in enumerate("ba"):
            values = np.full((bands, HEIGHT, WIDTH), number if bands == 1 else 5, np.uint8)
            write_raster(tmp_path / folder / f"{name}.tif", values)
    assert read(tmp_path / "image", tmp_path / "masks").mean(axis=(1, 2)).tolist() == [1, 0]


def test_masks_of_other_dates_are_let_be(tmp_path, scenes):
    files = write_masks(tmp_path / "masks")
    files[0].rename(tmp_path / "masks" / "2017-12-01.tif")
    (scenes / f"{DATES[0]}.tif").unlink()
    assert np.array_equal(read(scenes, tmp_path / "masks"), CLOUDS[1:])


def test_a_date_without_a_mask_or_with_several_is_refused(tmp_path, scenes):
    files = write_masks(tmp_path / "masks", name="{}_mask")
    write_raster(tmp_path / "masks" / f"{DATES[2]}_other.tif", CLOUDS[2:3].astype(np.uint8))
    with pytest.raises(UserError, match=rf"has 2 masks .*_mask.tif, .*_other.tif\) for {DATES[2]}.tif"):
        read(scenes, tmp_path / "masks")
    files[1].unlink()
    with pytest.raises(UserError, match=f"has no mask for {DATES[1]}.tif"):
        read(scenes, tmp_path / "masks")


def test_what_a_mask_does_not_tell_is_cloud(tmp_path, scenes):
    masks = CLOUDS.astype(np.uint8)
    masks[:, :5] = 255
    write_masks(tmp_path / "masks", masks, nodata=255)
    clouds = read(scenes, tmp_path / "masks")
    assert clouds[:, :5].all()
    assert np.array_equal(clouds[:, 5:], CLOUDS[:, 5:])


def test_masks_whose_zeros_are_declared_as_nodata_are_clear_there(tmp_path, scenes):
    write_masks(tmp_path / "masks", nodata=0)
    assert np.array_equal(read(scenes, tmp_path / "masks"), CLOUDS)


def test_classes_are_no_mask(tmp_path, scenes):
    write_masks(tmp_path / "masks", CLOUDS * 9)
    with pytest.raises(UserError, match="holds 9; a mask has 1 or 255 where there is cloud"):
        read(scenes, tmp_path / "masks")


def test_masks_on_another_grid_are_resampled_if_told(tmp_path, scenes):
    write_masks(tmp_path / "masks", 255 * CLOUDS[:, ::2, ::2], transform=NORTH_UP * Affine.scale(2))
    with pytest.raises(UserError, match=r"lies on another grid than .* Give --warp"):
        read(scenes, tmp_path / "masks")
    clouds = read(scenes, tmp_path / "masks", warp=True)
    assert (clouds != CLOUDS).mean() < 0.03
