import pytest
from PIL import Image

from foveal.core.errors import UserError
from foveal.data.datasets.image_folder import ImageFolder


def test_images_come_in_order_of_name_and_other_files_are_left_out(tmp_path):
    for name in ("b.png", "a.JPG", "c.tif", "not_read_here.webp", "._a.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "readme.txt").write_text("not an image")
    assert [pair.name for pair in ImageFolder(tmp_path).pairs(2)] == ["a", "b", "c"]
    assert all(pair.low is None for pair in ImageFolder(tmp_path).pairs(2))


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        ImageFolder(tmp_path / "nowhere").pairs(2)


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no images"):
        ImageFolder(tmp_path).pairs(2)
