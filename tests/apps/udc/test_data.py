from types import SimpleNamespace

import numpy as np
import pytest
import torch

from foveal.apps.udc.data import RestorationData
from foveal.apps.udc.physics import UnderDisplay
from foveal.core.errors import UserError
from foveal.data.datasets.image_folder import ImageFolder
from foveal.data.datasets.paired_folders import PairedFolders
from foveal.data.io.image import write_image


def folder(path, dark=1):
    path.mkdir(exist_ok=True)
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (3, 24, 28), dtype=np.uint8)
        write_image(path / f"{number}.png", pixels // dark)
    return path


def module(tmp_path, source, **options):
    """A data module over two generated pictures, as a Trainer has it."""
    options = {"patch": 12, "batch_size": 2, "repeats": 2, "workers": 0, "cache": tmp_path / "cache"} | options
    data = RestorationData([source], [source], **options)
    net = SimpleNamespace(scale=1, in_channels=3)
    data.trainer = SimpleNamespace(
        world_size=1, global_rank=0, current_epoch=0, lightning_module=SimpleNamespace(net=net)
    )
    return data


@pytest.fixture
def pairs(tmp_path):
    return PairedFolders(str(folder(tmp_path / "clean")), str(folder(tmp_path / "degraded", dark=4)), "CC0-1.0")


@pytest.fixture
def photographs(tmp_path):
    return ImageFolder(folder(tmp_path / "clean"), "CC0-1.0")


@pytest.fixture(scope="module")
def camera():
    return UnderDisplay("poled", reach=4)


def test_pairs_of_files_give_degraded_then_clean(tmp_path, pairs):
    data = module(tmp_path, pairs)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == 2
    for degraded, clean in batches:
        assert degraded.shape == clean.shape == (2, 3, 12, 12)
        assert torch.equal(degraded, (clean * 255).div(4).floor() / 255)


def test_photographs_are_degraded_by_the_camera(tmp_path, photographs, camera):
    data = module(tmp_path, photographs, camera=camera)
    data.setup("fit")
    degraded, clean = next(iter(data.train_dataloader()))
    assert degraded.shape == clean.shape == (2, 3, 12, 12)
    assert degraded.dtype == clean.dtype == torch.float32
    assert 0 < degraded.mean() < 0.8 * clean.mean()


def test_whole_photographs_are_always_degraded_alike(tmp_path, photographs, camera):
    first, second = (module(tmp_path, photographs, camera=camera) for _ in range(2))
    for data in (first, second):
        data.setup("test")
    cases, again = ([*data.test_dataloader()] for data in (first, second))
    assert [case["name"] for case in cases] == [["0"], ["1"]]
    assert cases[0]["low"].shape == cases[0]["high"].shape == (1, 3, 24, 28)
    assert torch.equal(cases[1]["low"], again[1]["low"])
    assert not torch.equal(cases[0]["low"], cases[0]["high"])


def test_the_fingerprint_tells_the_photographs_and_the_camera(tmp_path, photographs, camera):
    data = module(tmp_path, photographs, camera=camera)
    data.setup("fit")
    assert data.fingerprint()["train"][0]["names"] == ["0", "1"]
    assert data.fingerprint()["camera"] == camera.digest


def test_photographs_without_a_camera_are_refused(tmp_path, photographs):
    with pytest.raises(UserError, match=r"0\.png: has no partner taken through a display; give data\.camera"):
        module(tmp_path, photographs).setup("fit")


def test_a_camera_beside_pairs_of_files_is_refused(tmp_path, pairs, camera):
    with pytest.raises(UserError, match=r"data\.camera degrades clean photographs, but the data are pairs"):
        module(tmp_path, pairs, camera=camera).setup("fit")


def test_augmentation_beside_a_camera_is_refused(tmp_path, photographs, camera):
    import albumentations

    with pytest.raises(UserError, match=r"data\.augment: has no effect"):
        module(tmp_path, photographs, camera=camera, augment=[albumentations.RandomRotate90()])


def test_pairs_of_different_sizes_are_refused(tmp_path, pairs):
    write_image(tmp_path / "degraded" / "1.png", np.zeros((3, 24, 30), np.uint8))
    data = module(tmp_path, pairs)
    data.setup("fit")
    with pytest.raises(UserError, match=r"1\.png is 28x24 and .*1\.png is 30x24: not a pair"):
        list(data.train_dataloader())
