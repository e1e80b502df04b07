"""Splits told by a file: every layout takes its part by them, and a file that does not fit is refused."""

import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.image_folder import ImageFolder
from foveal.data.datasets.image_masks import ImageMasks
from foveal.data.datasets.scene_series import chosen_places
from foveal.data.datasets.split_file import names_of

LINES = ["name,patient,split", "a,p1,train", "b,p1,train", "c,p2,validation", "d,p3,test"]


def written(folder, lines=LINES):
    path = folder / "split.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_part_is_what_the_file_says(tmp_path):
    split = written(tmp_path)
    assert names_of(split, "train", "abcd") == {"a", "b"}
    assert names_of(split, None, "abcd") == {*"abcd"}
    assert chosen_places("abcd", ["a", "c"], "train", (0.7, 0.15, 0.15), 0, "data", split) == {"a"}


def test_folders_take_their_part_by_the_file(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in "abcd":
            (tmp_path / folder / f"{name}.png").touch()
    split = written(tmp_path)
    pairs = ImageFolder(tmp_path / "images", part="validation", split=split).pairs(2)
    assert [each.name for each in pairs] == ["c"]
    cases = ImageMasks(tmp_path / "images", tmp_path / "masks", part="train", split=split).cases()
    assert [each.name for each in cases] == ["a", "b"]
    with pytest.raises(UserError, match="the part train of images is told by a file; give split"):
        ImageFolder(tmp_path / "images", part="train").pairs(2)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (LINES[:-1], "does not tell the part of d, and of 1 of 4 in all; add lines"),
        ([*LINES, "e,,test"], "lists e, which is not there, and 1 such in all; remove them"),
        ([*LINES, "a,p1,train"], "line 6: a is listed a second time"),
        ([*LINES[:-1], "d,p2,test"], "line 5: the patient p2 is in validation too; keep it in one"),
        ([*LINES[:-1], "d,p3,held out"], "line 5: the split is 'held out'; write train, validation or test"),
        (["name,part"], "has no column split"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, lines, told):
    with pytest.raises(UserError, match=told):
        names_of(written(tmp_path, lines), "train", "abcd")


def test_an_empty_part_is_refused(tmp_path):
    with pytest.raises(UserError, match="puts nothing into the part test; write test behind some names"):
        names_of(written(tmp_path, LINES[:-1]), "test", "abc")
