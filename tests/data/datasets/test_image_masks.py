import numpy as np
import pytest
from PIL import Image

from foveal.core.errors import UserError
from foveal.data.datasets.image_masks import ImageMasks

from ...fixtures.masks import save, write_pair


def folder_of(tmp_path, *names):
    for name in names:
        write_pair(tmp_path, name)
    return tmp_path


def source(folder, **options):
    return ImageMasks(folder / "images", folder / "masks", **options)


def grey(path):
    return save(Image.fromarray(np.zeros((8, 8), np.uint8)), path)


def test_images_and_masks_belong_together_by_name_with_numbers_in_order(tmp_path):
    cases = source(folder_of(tmp_path, "Subj_1slice_10", "Subj_1slice_9", "Subj_1slice_1")).cases()
    assert [case.name for case in cases] == ["Subj_1slice_1", "Subj_1slice_9", "Subj_1slice_10"]
    assert all(case.image.stem == case.mask.stem == case.name for case in cases)
    assert [(case.axis, case.slice) for case in cases] == [(None, None)] * 3


@pytest.mark.parametrize("ending", ["_mask", "_label", "_seg", "_gt"])
def test_a_mask_may_have_an_ending_and_another_format(tmp_path, ending):
    grey(tmp_path / "images/a.jpg")
    mask = grey(tmp_path / f"masks/a{ending}.png")
    assert source(tmp_path).cases()[0].mask == mask


def test_one_folder_holds_both(tmp_path):
    image, mask = grey(tmp_path / "a.png"), grey(tmp_path / "a_mask.png")
    grey(tmp_path / "._a.png")
    (case,) = ImageMasks(tmp_path, tmp_path).cases()
    assert (case.image, case.mask) == (image, mask)


def test_the_patient_is_found_in_the_name(tmp_path):
    cases = source(folder_of(tmp_path, "Subj_12slice_1", "Subj_3slice_1"), group=r"Subj_(\d+)").cases()
    assert [case.group for case in cases] == ["3", "12"]
    assert [case.group for case in source(tmp_path).cases()] == ["Subj_3slice_1", "Subj_12slice_1"]


def test_parts_never_share_a_patient_and_hold_all(tmp_path):
    folder_of(tmp_path, *(f"p{patient}_{number}" for patient in range(10) for number in range(3)))
    parts = {
        part: source(tmp_path, group=r"p(\d+)_", part=part, shares=(0.6, 0.2, 0.2)).cases()
        for part in ("train", "validation", "test")
    }
    patients = [{case.group for case in cases} for cases in parts.values()]
    assert [len(each) for each in patients] == [6, 2, 2]
    assert len(set.union(*patients)) == 10
    assert [len(cases) for cases in parts.values()] == [18, 6, 6]


@pytest.mark.parametrize(
    ("names", "extra", "message"),
    [
        (("a", "b"), "images/c.png", r"images: 1 of 3 images have no mask in .*masks, the first is c\.png"),
        (("a", "b"), "masks/c.png", r"masks: 1 of 3 masks belong to no image in .*images.*; the first is c\.png"),
        (("a",), "images/a.jpg", r"images: holds 2 images of the name a; keep one"),
        (("a",), "masks/a_mask.png", r"masks: 1 of 2 masks belong to no image .* or to one that has another"),
    ],
)
def test_what_is_left_over_is_reported(tmp_path, names, extra, message):
    folder_of(tmp_path, *names)
    grey(tmp_path / extra)
    with pytest.raises(UserError, match=message):
        source(tmp_path).cases()


def test_missing_and_empty_folders_are_reported(tmp_path):
    with pytest.raises(UserError, match=r"images: is not a folder; give the folder that holds the images"):
        source(tmp_path).cases()
    grey(tmp_path / "images/a.png")
    (tmp_path / "masks").mkdir()
    with pytest.raises(UserError, match=r"masks: holds no masks; expected files such as"):
        source(tmp_path).cases()
    with pytest.raises(UserError, match=r"images: holds no masks; in one folder masks end in _mask"):
        ImageMasks(tmp_path / "images", tmp_path / "images").cases()


def test_a_name_without_a_patient_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"b\.png: the name tells no patient by the expression"):
        source(folder_of(tmp_path, "p1_a", "b"), group=r"p(\d)_").cases()


@pytest.mark.parametrize(
    ("group", "message"), [("p(", "is no regular expression"), ("p.", "marks no part of the name")]
)
def test_an_expression_without_a_patient_is_reported(tmp_path, group, message):
    with pytest.raises(UserError, match=message):
        source(tmp_path, group=group)


def test_an_empty_part_is_reported(tmp_path):
    folder_of(tmp_path, "a", "b")
    with pytest.raises(
        UserError, match=r"images: the part test of 2 patients or volumes is empty \(shares 0\.7, 0\.15"
    ):
        source(tmp_path, part="test").cases()
