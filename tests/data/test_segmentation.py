import albumentations
import numpy as np
import pytest
import torch

from foveal.core.errors import UserError
from foveal.data.datasets.image_masks import ImageMasks
from foveal.data.datasets.volume_slices import VolumeSlices

from ..fixtures import images
from ..fixtures.masks import data_module, write_mask, write_pair, write_volume

GREYS = (0, 63, 126, 189)
SCALE = {"percentiles": [1, 99]}


def folders(root, train=4, greys=(0, 255)):
    """Write both parts and return their sources."""
    sources = []
    for part, count in (("train", train), ("validation", 2)):
        for number in range(count):
            write_pair(root / part, f"{part}{number}", greys=greys)
        values = greys if len(greys) > 2 else None
        sources.append(ImageMasks(root / part / "images", root / part / "masks", "CC0-1.0", values))
    return sources


def module(tmp_path, greys=(0, 255), **options):
    first, second = folders(tmp_path, greys=greys)
    options = {"train": [first], "validation": [second], "classes": len(greys)} | options
    return data_module(tmp_path / "cache", **options)


def volumes(tmp_path, classes=3, model=None, **options):
    for number in range(4):
        write_volume(tmp_path, f"v{number}")
    shares = (0.5, 0.5, 0)
    parts = {
        name: [VolumeSlices(tmp_path / "images", tmp_path / "labels", part=name, shares=shares)]
        for name in ("train", "validation")
    }
    return data_module(tmp_path / "cache", 1, classes, model=model, **parts, **options)


def test_batches_hold_images_and_class_numbers(tmp_path):
    data = module(tmp_path, greys=GREYS)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == 2
    for batch in batches:
        assert batch["image"].shape == (2, 3, 16, 16)
        assert batch["image"].dtype == torch.float32
        assert 0 <= batch["image"].min() < batch["image"].max() <= 1
        assert batch["mask"].shape == (2, 16, 16)
        assert batch["mask"].dtype == torch.int64
        assert batch["mask"].unique().tolist() == [0, 1, 2, 3]


def test_soft_masks_have_one_channel(tmp_path):
    data = module(tmp_path, soft=True, classes=1)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["mask"].shape == (2, 1, 16, 16)
    assert batch["mask"].dtype == torch.float32
    assert ((batch["mask"] > 0) & (batch["mask"] < 1)).any()


def test_a_network_of_one_output_has_two_classes(tmp_path):
    data = module(tmp_path, classes=1)
    data.setup("fit")
    assert data.class_counts().tolist() == [4 * (480 - 24), 4 * 24]
    assert data.class_counts().dtype == torch.int64


def test_loaded_by_workers_batches_are_the_same(tmp_path):
    batches = []
    for workers in (0, 1):
        data = module(tmp_path, workers=workers, crop=True, augment=[albumentations.HorizontalFlip(p=0.5)])
        data.setup("fit")
        batches.append(list(data.train_dataloader()))
    assert all(torch.equal(one["image"], two["image"]) for one, two in zip(*batches, strict=True))


def test_two_processes_share_each_batch_of_one(tmp_path):
    for balance in (False, True):
        parts = []
        for world, rank in ((1, 0), (2, 0), (2, 1)):
            data = module(tmp_path, world=world, rank=rank, balance=balance)
            data.setup("fit")
            parts.append(next(iter(data.train_dataloader()))["image"])
        assert torch.equal(parts[0], torch.cat(parts[1:]))


def test_a_resumed_epoch_has_its_own_samples(tmp_path):
    data = module(tmp_path, crop=True)
    data.setup("fit")
    first = next(iter(data.train_dataloader()))["image"]
    data.trainer.current_epoch = 1
    assert not torch.equal(first, next(iter(data.train_dataloader()))["image"])


def test_rare_classes_come_as_often_when_balanced(tmp_path):
    sources = folders(tmp_path, train=12)
    for number in range(11):
        write_mask(tmp_path / "train", f"train{number}", np.zeros((24, 20), np.uint8))
    seen = {}
    for balance in (False, True):
        data = data_module(
            tmp_path / "cache", train=sources[:1], validation=sources[1:], balance=balance, repeats=20, size=(24, 20)
        )
        data.setup("fit")
        seen[balance] = sum(batch["mask"].flatten(1).any(1).sum().item() for batch in data.train_dataloader())
    assert seen[False] == 20
    assert 100 < seen[True] < 160


def test_evaluation_gives_images_at_their_own_size(tmp_path):
    data = module(tmp_path)
    data.setup("validate")
    items = list(data.val_dataloader())
    assert [(item["set"], item["name"]) for item in items] == [
        ("validation", "validation0"),
        ("validation", "validation1"),
    ]
    assert items[0]["images"][0].shape == (3, 24, 20)
    assert items[0]["masks"].shape == (1, 24, 20)
    assert items[0]["spacing"] is None


def test_named_test_sets_are_scored_apart_and_the_validation_images_without_them(tmp_path):
    first, second = folders(tmp_path)
    data = module(tmp_path, test={"near": first, "far": second})
    data.setup("test")
    assert [item["set"] for item in data.test_dataloader()] == ["near"] * 4 + ["far"] * 2
    data = module(tmp_path)
    data.setup("test")
    assert [item["set"] for item in data.test_dataloader()] == ["validation"] * 2


def test_volumes_train_by_filled_slices_and_are_scored_whole(tmp_path):
    data = volumes(tmp_path, evaluate_by="group")
    data.setup("fit")
    assert len(data.training.entries) == 2 * 4  # of six slices the first and the last are empty
    items = list(data.val_dataloader())
    assert len(items) == 2
    assert items[0]["masks"].shape == (6, 9, 8)
    assert items[0]["spacing"] == pytest.approx((0.75, 0.5))
    trained = {entry.case.group for entry in data.training.entries}
    assert not trained & {item["name"] for item in items}


def test_slices_are_scored_one_by_one_unless_told(tmp_path):
    data = volumes(tmp_path)
    data.setup("validate")
    assert len(data.evaluation) == 12


def test_the_fingerprint_counts_and_digests_without_names(tmp_path):
    data = module(tmp_path)
    data.setup("fit")
    facts = data.fingerprint()
    assert list(facts) == ["train", "validation"]
    (train,) = facts["train"]
    assert (train["layout"], train["licence"], train["images"], train["groups"]) == ("ImageMasks", "CC0-1.0", 4, 4)
    assert train["bytes"] > 0
    assert "train0" not in str(facts)
    write_pair(tmp_path / "train", "train9")
    data.setup("fit")
    assert data.fingerprint()["train"][0]["sha256"] != train["sha256"]


def test_scoring_needs_no_training_images(tmp_path):
    data = module(tmp_path, train=[ImageMasks(tmp_path / "absent", tmp_path / "absent")])
    data.setup("validate")
    assert list(data.fingerprint()) == ["validation"]


def test_images_that_are_trained_on_and_scored_are_told(tmp_path, caplog):
    first, _ = folders(tmp_path)
    module(tmp_path, validation=[first]).setup("fit")
    assert "4 files of the validation set are trained on too" in caplog.text
    caplog.clear()
    module(tmp_path).setup("fit")
    assert not caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"world": 3}, r"data\.batch_size 2 must be a multiple of the 3 processes"),
        ({"size": (16, 18)}, r"data\.size 16, 18: the network takes sides that are multiples of 4"),
        ({"batch_size": 8}, r"one epoch has 4 images, fewer than data\.batch_size 8; make that smaller, or raise"),
        ({"size": (28, 20), "crop": True}, r"train0\.png: is 20 x 24 pixels, smaller than a crop of 20 x 28"),
        ({"validation": []}, r"the validation set is empty; give data\.validation images"),
        ({"train": []}, r"the train set is empty"),
        ({"soft": True, "greys": GREYS}, r"data\.soft is for two classes; the network has 4"),
        ({"greys": (0, 1), "classes": 3}, r"no training mask holds the class 2; correct the masks"),
        ({"greys": GREYS, "classes": 3}, r"the grey values 0, 63, 126, 189 .* are not one for each of the network's 3"),
        ({"channels": 1}, r"6 of 6 .* cannot be used; the first: .*train0\.png: has 3 channels; the network takes 1"),
    ],
)
def test_what_cannot_be_trained_is_told_at_setup(tmp_path, options, message):
    with pytest.raises(UserError, match=message) as raised:
        module(tmp_path, **options).setup("fit")
    assert "\n" not in str(raised.value)


def test_a_class_absent_from_training_is_named(tmp_path):
    data = volumes(tmp_path, model={"classes": ["anterior", "posterior", "other"], "intensity": SCALE}, classes=4)
    with pytest.raises(UserError, match=r"no training mask holds the class 3 \(other\)"):
        data.setup("fit")


def test_no_training_slice_with_a_class_is_told(tmp_path):
    sources = folders(tmp_path, 2)
    sources[0].skip_empty = True
    for number in range(2):
        write_mask(tmp_path / "train", f"train{number}", np.zeros((24, 20), np.uint8))
    with pytest.raises(UserError, match="no training mask holds the class 0"):
        data_module(tmp_path / "cache", train=sources[:1], validation=sources[1:]).setup("fit")


@pytest.mark.parametrize("bad", [each for each in images.BAD if each is not images.missing])
def test_one_unreadable_image_of_any_part_is_named(tmp_path, bad):
    module(tmp_path)
    path = bad(tmp_path / "validation/images")
    write_mask(tmp_path / "validation", path.stem, np.zeros((21, 30), np.uint8))
    with pytest.raises(UserError, match=images.BAD[bad]):
        module(tmp_path).setup("fit")


def test_all_bad_masks_are_counted_and_the_first_is_named(tmp_path):
    data = module(tmp_path)
    write_mask(tmp_path / "train", "train1", np.zeros((9, 9), np.uint8))
    write_mask(tmp_path / "validation", "validation0", np.full((24, 20), 2, np.uint8))
    with pytest.raises(
        UserError, match=r"^2 of 6 images or masks cannot be used; the first: .*train1\.png: does not fit"
    ):
        data.setup("fit")


def test_a_model_that_infers_at_another_intensity_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"model\.intensity is not given, that of the data \(VolumeSlices\) is \{'perc"):
        volumes(tmp_path, model={"intensity": {}}).setup("fit")
    volumes(tmp_path, model={"intensity": {"percentiles": (1, 99)}}).setup("fit")
    with pytest.raises(UserError, match=r"that of the data \(ImageMasks\) is not given"):
        module(tmp_path / "images", model={"intensity": SCALE}).setup("fit")
