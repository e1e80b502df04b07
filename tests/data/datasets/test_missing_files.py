import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.missing_files import refuse_missing


def test_the_first_missing_file_and_how_many_are_told(tmp_path):
    files = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    files[0].touch()
    with pytest.raises(UserError, match=r"b\.png: there is no such file; 2 of 3 images are missing\. Unpack them\.$"):
        refuse_missing(files, "images", "Unpack them.")


def test_files_that_are_there_pass(tmp_path):
    (tmp_path / "a.png").touch()
    refuse_missing([tmp_path / "a.png"], "images")
