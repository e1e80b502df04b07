import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.dated_places import DatedPlaces
from foveal.tests.fixtures.scenes import left_half, opened, write_mask, write_scene

COVERS = {"2018-01-01": 0.5, "2018-02-01": 0.0, "2018-02-11": 0.2, "2018-03-20": 1.0, "2018-04-10": 0.4}


def place(folder, covers=COVERS, masks="cloud_mask"):
    for date, cover in covers.items():
        write_scene(folder / "image" / f"S2A_{date.replace('-', '')}T101021.tif", 0.2)
        if masks:
            write_mask(folder / masks / f"{date}T101021.tif", left_half(cover))
    return folder


def days(images):
    return [f"{image.day:%Y-%m-%d}" for image in images]


def test_a_clear_date_is_made_of_the_nearest_others(tmp_path):
    place(tmp_path / "north")
    source = DatedPlaces(str(tmp_path), dates=2)
    (series,) = source.series(opened(tmp_path).cover)
    assert (series.name, series.place, days([series.truth])) == ("north 2018-02-01", "north", ["2018-02-01"])
    assert days(series.images) == ["2018-01-01", "2018-02-11"]
    (series,) = DatedPlaces(str(tmp_path), dates=2, cover=(0.3, 1.0)).series(opened(tmp_path).cover)
    assert days(series.images) == ["2018-01-01", "2018-03-20"]


def test_each_clear_date_is_a_truth_and_an_input_of_the_others(tmp_path):
    place(tmp_path / "north", {"2018-01-01": 0, "2018-02-01": 0, "2018-02-11": 0.2})
    first, second = DatedPlaces(str(tmp_path), dates=2).series(opened(tmp_path).cover)
    assert days(first.images) == ["2018-02-01", "2018-02-11"]
    assert days(second.images) == ["2018-01-01", "2018-02-11"]


def test_images_may_lie_in_the_place_itself_and_the_folder_may_be_one_place(tmp_path):
    write_scene(tmp_path / "east" / "2018-01-01.tif", 0.2)
    write_scene(tmp_path / "east" / "2018-02-01.tif", 0.2)
    assert len(DatedPlaces(str(tmp_path)).images()) == len(DatedPlaces(str(tmp_path / "east")).images()) == 2
    place(tmp_path / "north")
    assert {image.place for image in DatedPlaces(str(tmp_path / "north")).images()} == {"north"}


def test_places_are_chosen_by_name_or_dealt_to_parts(tmp_path):
    for number in range(6):
        place(tmp_path / f"p{number}", {"2018-01-01": 0})
    assert {image.place for image in DatedPlaces(str(tmp_path), places=["p1", "p4"]).images()} == {"p1", "p4"}
    parts = [
        {image.place for image in DatedPlaces(str(tmp_path), part=part, shares=(0.5, 0.25, 0.25)).images()}
        for part in ("train", "validation", "test")
    ]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 6
    with pytest.raises(UserError, match="has no place 'p9'; its places are p0, p1"):
        DatedPlaces(str(tmp_path), places=["p9"]).images()


def test_cover_is_told_where_no_date_will_do(tmp_path):
    place(tmp_path / "north", {"2018-01-01": 0.5, "2018-02-01": 0.2})
    with pytest.raises(UserError, match=r"north has 2018-01-01 50%, 2018-02-01 20%\. Raise most_cloud"):
        DatedPlaces(str(tmp_path)).series(opened(tmp_path).cover)


def test_names_that_tell_no_date_or_the_same_are_refused(tmp_path):
    write_scene(tmp_path / "a" / "first.tif", 0.2)
    with pytest.raises(UserError, match=r"first\.tif: the name tells no date"):
        DatedPlaces(str(tmp_path)).images()
    write_scene(tmp_path / "b" / "2018-01-01.tif", 0.2)
    write_scene(tmp_path / "b" / "x_20180101.tif", 0.2)
    with pytest.raises(UserError, match=r"x_20180101\.tif: has the same date as 2018-01-01\.tif"):
        DatedPlaces(str(tmp_path / "b")).images()


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="none: holds no place"):
        DatedPlaces(str(tmp_path / "none")).images()
    with pytest.raises(UserError, match="nowhere: is not a folder"):
        DatedPlaces(str(tmp_path / "nowhere")).images()


def test_masks_of_the_day_will_do_and_those_of_other_days_are_let_be(tmp_path):
    north = place(tmp_path / "north", masks=None)
    for date in (*COVERS, "2019-01-01"):
        write_mask(north / "cloud_mask" / f"{date}.tif", left_half())
    assert [image.mask.stem for image in DatedPlaces(str(tmp_path)).images()] == sorted(COVERS)


def test_an_image_without_a_mask_is_refused_where_others_have_one(tmp_path):
    north = place(tmp_path / "north")
    (north / "cloud_mask" / "2018-02-01T101021.tif").unlink()
    with pytest.raises(UserError, match=r"cloud_mask: has no mask for S2A_20180201T101021\.tif"):
        DatedPlaces(str(tmp_path)).images()
