import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.paired_scenes import PairedScenes
from foveal.tests.fixtures.scenes import left_half, write_mask, write_scene


def never(image):
    raise AssertionError("cover is not needed")


def folders(root, cloudy, clear=("r1_p1", "r1_p2", "r2_p1")):
    for name in clear:
        write_scene(root / "clear" / f"{name}.tif", 0.2)
    for name in cloudy:
        write_scene(root / "cloudy" / f"{name}.tif", 0.4)
        write_mask(root / "masks" / f"{name}.tif", left_half())
    return {name: str(root / name) for name in ("clear", "cloudy", "masks")}


def test_cloudy_images_have_the_names_of_the_clear_ones(tmp_path):
    where = folders(tmp_path, ("r1_p1", "r1_p2", "r2_p1"))
    all_ = PairedScenes(**where, place="(.*)_p").series(never)
    assert [(each.name, each.place, each.truth.scene) for each in all_] == [
        ("r1_p1", "r1", "r1_p1"),
        ("r1_p2", "r1", "r1_p2"),
        ("r2_p1", "r2", "r2_p1"),
    ]
    (image,) = all_[0].images
    assert image.files == (tmp_path / "cloudy" / "r1_p1.tif",)
    assert image.mask == tmp_path / "masks" / "r1_p1.tif"
    assert all_[0].truth.is_clear
    assert not image.is_clear


def test_several_dates_are_numbered(tmp_path):
    where = folders(tmp_path, [f"a_{number}" for number in (0, 1, 2, 10)] + ["b_0"], clear=("a", "b"))
    first, second = PairedScenes(**where).series(never)
    assert [image.files[0].stem for image in first.images] == ["a_0", "a_1", "a_2", "a_10"]
    assert len(second.images) == 1


def test_names_are_left_out_and_places_chosen(tmp_path):
    where = folders(tmp_path, ("r1_p1", "r1_p2", "r2_p1"))
    assert len(PairedScenes(**where, exclude=["r1_p2"]).series(never)) == 2
    assert [each.name for each in PairedScenes(**where, place="(.*)_p", places=["r2"]).series(never)] == ["r2_p1"]
    with pytest.raises(UserError, match="has no image 'r9' to leave out"):
        PairedScenes(**where, exclude=["r9"]).series(never)


def test_clear_images_alone_are_ground_but_no_samples(tmp_path):
    source = PairedScenes(folders(tmp_path, ())["clear"])
    assert len(source.images()) == 3
    with pytest.raises(UserError, match="clear images alone are no samples"):
        source.series(never)


def test_what_is_missing_is_told(tmp_path):
    where = folders(tmp_path, ("r1_p1",))
    with pytest.raises(UserError, match=r"r1_p2: has no partner; expected r1_p2\.tif or r1_p2_0\.tif"):
        PairedScenes(**where).series(never)
    with pytest.raises(UserError, match=r"the name tells no place by the expression '\^x\(\.\)'"):
        PairedScenes(**where, place="^x(.)").images()
    with pytest.raises(UserError, match="nowhere: there is no such folder"):
        PairedScenes(str(tmp_path / "nowhere")).images()
