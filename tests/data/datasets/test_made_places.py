import pytest
import rasterio

from foveal.core.errors import UserError
from foveal.data.datasets.made_places import MadePlaces
from foveal.tests.fixtures.scenes import opened


def made(folder, **options):
    return MadePlaces(str(folder), **{"count": 2, "days": 6, "side": 24} | options)


def test_places_are_made_once_and_always_alike(tmp_path):
    source = made(tmp_path / "a")
    images = source.images()
    assert len(images) == 12
    written = {image.files[0]: image.files[0].stat().st_mtime_ns for image in images}
    assert [image.files[0] for image in made(tmp_path / "a").images()] == [*written]
    assert {file: file.stat().st_mtime_ns for file in written} == written
    for one, other in zip(images, made(tmp_path / "b").images(), strict=True):
        assert one.files[0].read_bytes() == other.files[0].read_bytes()


def test_files_are_as_products_are(tmp_path):
    image = made(tmp_path / "a").images()[0]
    with rasterio.open(image.files[0]) as file:
        assert file.descriptions == ("B4 red", "B3 green", "B2 blue", "B8 nir")
        assert (file.crs.to_epsg(), file.res, set(file.dtypes)) == (32633, (10, 10), {"uint16"})


def test_clear_dates_are_truths_of_cloudy_ones(tmp_path):
    files = opened(tmp_path)
    series = made(tmp_path / "a").series(files.cover)
    assert {each.place for each in series} == {"made_00", "made_01"}
    for each in series:
        assert files.cover(each.truth) == 0
        assert all(0.05 <= files.cover(image) <= 0.95 for image in each.images)


def test_another_folder_is_left_alone(tmp_path):
    made(tmp_path / "a").images()
    with pytest.raises(UserError, match="holds something else than these made places"):
        made(tmp_path / "a", seed=1).images()
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
