import pytest
from PIL import Image

from foveal.core.errors import UserError
from foveal.data.datasets.paired_folders import PairedFolders


def benchmark(root, low_name):
    for path, side in ((root / "HR" / "baby.png", 8), (root / "LR_bicubic" / "X2" / low_name, 4)):
        path.parent.mkdir(parents=True)
        Image.new("RGB", (side, side)).save(path)
    return PairedFolders(high=f"{root}/HR", low=f"{root}/LR_bicubic/X{{scale}}")


@pytest.mark.parametrize("low_name", ["babyx2.png", "baby.png"])
def test_partners_are_found_by_either_name(tmp_path, low_name):
    (pair,) = benchmark(tmp_path, low_name).pairs(2)
    assert pair.name == "baby"
    assert pair.low == tmp_path / "LR_bicubic" / "X2" / low_name


def test_an_image_without_partner_is_named(tmp_path):
    with pytest.raises(UserError, match=r"baby\.png has no partner: expected babyx2 or baby"):
        benchmark(tmp_path, "bird.png").pairs(2)


def test_a_scale_without_folder_is_told(tmp_path):
    with pytest.raises(UserError, match="X4 is not a folder"):
        benchmark(tmp_path, "baby.png").pairs(4)
