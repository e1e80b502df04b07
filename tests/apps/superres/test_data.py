from types import SimpleNamespace

import numpy as np
import pytest

from foveal.apps.superres.data import SuperResolutionData
from foveal.core.errors import UserError
from foveal.data.datasets.image_folder import ImageFolder
from foveal.data.io.image import write_image
from foveal.data.loaders import digest_of


def module(tmp_path, world=1, rank=0, **options):
    """A data module over three generated images, as the Trainer of one of `world` processes has it."""
    folder = tmp_path / "images"
    folder.mkdir(exist_ok=True)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (3, 40, 32), dtype=np.uint8)
        write_image(folder / f"{number}.png", pixels)
    source = ImageFolder(folder, "CC0-1.0")
    options = {"patch": 8, "batch_size": 4, "repeats": 4, "workers": 0, "cache": tmp_path / "cache"} | options
    data = SuperResolutionData([source], [source], **options)
    net = SimpleNamespace(scale=2, in_channels=3)
    data.trainer = SimpleNamespace(
        world_size=world, global_rank=rank, current_epoch=0, lightning_module=SimpleNamespace(net=net)
    )
    return data


def test_batches_hold_aligned_patches(tmp_path):
    data = module(tmp_path)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    assert all(low.shape == (4, 3, 8, 8) and high.shape == (4, 3, 16, 16) for low, high in batches)


def test_two_processes_share_each_batch_of_one(tmp_path):
    alone, *shares = [module(tmp_path, world, rank) for world, rank in ((1, 0), (2, 0), (2, 1))]
    for data in (alone, *shares):
        data.setup("fit")
    (low, _), (first, _), (second, _) = (next(iter(data.train_dataloader())) for data in (alone, *shares))
    assert np.array_equal(low[0::2], first)
    assert np.array_equal(low[1::2], second)


def test_a_batch_that_processes_cannot_share_is_refused(tmp_path):
    with pytest.raises(UserError, match="batch_size 4 must be a multiple of the 3 processes"):
        module(tmp_path, world=3).setup("fit")


def test_an_epoch_shorter_than_a_batch_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"one epoch has 3 patches, fewer than data\.batch_size 4; make that"):
        module(tmp_path, repeats=1).setup("fit")


def test_without_test_sets_the_validation_images_are_tested(tmp_path):
    data = module(tmp_path)
    data.setup("test")
    cases = list(data.test_dataloader())
    assert [case["name"][0] for case in cases] == ["0", "1", "2"]
    assert cases[0]["low"].shape == (1, 3, 20, 16)


def test_the_fingerprint_names_the_images(tmp_path):
    data = module(tmp_path)
    data.setup("fit")
    (facts,) = data.fingerprint()["train"]
    assert facts["images"] == 3
    assert facts["names"] == ["0", "1", "2"]
    assert facts["bytes"] > 0
    assert facts["sha256"] == digest_of(["0", "1", "2"])
    assert facts["licence"] == "CC0-1.0"


def test_a_measurement_needs_no_training_images(tmp_path):
    data = module(tmp_path)
    data.train_sources = [ImageFolder(tmp_path / "absent")]
    data.setup("validate")
    assert list(data.fingerprint()) == ["validation"]
