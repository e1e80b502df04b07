from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.cloud_masks import clouds_in, masks_of
from foveal.data.io.geotiff.raster import Raster
from foveal.tests.fixtures.geotiff import write_raster
from foveal.tests.fixtures.scenes import SIDE, left_half, write_mask

MORNING, NOON = datetime(2018, 2, 10, 10, 11, 41), datetime(2018, 2, 10, 12)


def read(path):
    with closing(Raster(path, [1])) as raster:
        return clouds_in(raster, (slice(0, SIDE), slice(2, SIDE)))


def masks(folder, *names):
    return [write_mask(folder / f"{name}.tif", left_half()) for name in names]


def names(folder, images, dates, *of_masks):
    return [mask.stem for mask in masks_of([Path(each) for each in images], dates, masks(folder, *of_masks))]


@pytest.mark.parametrize("value", [1, 255])
def test_cloud_is_one_or_255(tmp_path, value):
    path = write_raster(tmp_path / "m.tif", value * left_half()[None].astype(np.uint8))
    np.testing.assert_array_equal(read(path), left_half()[:, 2:])


@pytest.mark.parametrize("value", [2, 8, 100, 0.5, -1])
def test_other_numbers_are_no_mask(tmp_path, value):
    path = write_raster(tmp_path / "m.tif", (value * left_half()[None]).astype(np.float32))
    with pytest.raises(UserError, match=rf"m\.tif: holds {value:g}; a mask has 1 or 255 where there is cloud"):
        read(path)


def test_an_image_has_the_mask_of_its_name_then_of_its_time_then_of_its_day(tmp_path):
    found = names(tmp_path, ["a_20180210T101141.tif"], [MORNING], "m_20180210", "m_20180211")
    assert found == ["m_20180210"]
    found = names(tmp_path, ["a.tif", "b.tif"], [MORNING, NOON], "m_20180210T101141", "m_20180210T120000")
    assert found == ["m_20180210T101141", "m_20180210T120000"]
    assert names(tmp_path, ["a.tif", "b.tif"], [MORNING, NOON], "b", "m_20180210T101141", "a") == ["a", "b"]
    assert names(tmp_path, ["a.tif", "b.tif"], [], "b", "other", "a") == ["a", "b"]


@pytest.mark.parametrize(
    ("of_masks", "told"),
    [
        (["20180210_a", "20180210_b"], r"has 2 masks \(20180210_a\.tif, 20180210_b\.tif\) for a\.tif"),
        (["c"], "no mask"),
    ],
)
def test_an_image_without_a_mask_or_with_several_is_refused(tmp_path, of_masks, told):
    with pytest.raises(UserError, match=told):
        names(tmp_path, ["a.tif"], [MORNING], *of_masks)
