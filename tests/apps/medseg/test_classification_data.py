from types import SimpleNamespace

import albumentations
import numpy as np
import pytest
import torch

from foveal.apps.medseg.classification_data import ClassificationData
from foveal.core.errors import UserError
from foveal.data.datasets.class_folders import ClassFolders
from foveal.data.datasets.labelled_csv import LabelledCsv
from foveal.data.io.image import write_image
from foveal.tests.fixtures.dicom import image_dataset, save


def pictures(folder, counts=(12, 4), per_patient=2):
    """Class folders "sick" and "well"; names are <patient>_<number>.png, a patient has one class."""
    person = 0
    for label, count in zip(("sick", "well"), counts, strict=True):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            person += number % per_patient == 0
            seed = [person, number]
            image = np.random.default_rng(seed).integers(0, 256, (1, 20, 18), dtype=np.uint8)
            write_image(folder / label / f"{person}_{number}.png", image)
    return ClassFolders(folder, patient="^([0-9]+)_", licence="CC0-1.0")


def module(tmp_path, train=None, world=1, rank=0, num_classes=2, **options):
    """A data module over generated images, as the Trainer of one of `world` processes has it."""
    train = [pictures(tmp_path / "images")] if train is None else train
    options = {
        "size": 16,
        "batch_size": 4,
        "validation_share": 0.3,
        "workers": 0,
        "cache": tmp_path / "cache",
    } | options
    data = ClassificationData(train, **options)
    net = SimpleNamespace(num_classes=num_classes, in_channels=1)
    data.trainer = SimpleNamespace(
        world_size=world, global_rank=rank, current_epoch=0, lightning_module=SimpleNamespace(net=net)
    )
    return data


def test_batches_hold_images_and_classes(tmp_path):
    data = module(tmp_path)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert data.classes == ("sick", "well")
    assert data.class_counts == [8, 2]
    assert len(batches) == 2
    assert all(batch["image"].shape == (4, 1, 16, 16) and batch["label"].shape == (4,) for batch in batches)
    assert set(batches[0]) == {"image", "label"}


def test_the_body_may_be_shown_the_image_before_augmentation(tmp_path):
    data = module(tmp_path, augment=[albumentations.HorizontalFlip(p=1)], align_inputs=False)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert torch.equal(batch["image"].flip(-1), batch["original"])


def test_patients_are_never_parted(tmp_path):
    data = module(tmp_path, test_share=0.3)
    data.setup("fit")
    persons = {name: {image.patient for image in images} for name, images in data.used.items()}
    assert all(persons.values())
    assert not persons["train"] & persons["validation"]
    names = [name for batch in data.val_dataloader() for name in batch["name"]]
    assert len(names) == len(data.used["validation"])
    data.setup("test")
    kept = {image.patient for image in data.used["test"]}
    assert kept
    assert not kept & (persons["train"] | persons["validation"])


def test_two_processes_share_each_batch_and_each_case_of_one(tmp_path):
    alone, *shares = [module(tmp_path, world=world, rank=rank) for world, rank in ((1, 0), (2, 0), (2, 1))]
    for data in (alone, *shares):
        data.setup("fit")
    whole, first, second = (next(iter(data.train_dataloader()))["image"] for data in (alone, *shares))
    assert torch.equal(whole[0::2], first)
    assert torch.equal(whole[1::2], second)
    counts = [sum(len(batch["name"]) for batch in data.val_dataloader()) for data in (alone, *shares)]
    assert counts[0] == counts[1] + counts[2]


def test_sampling_reaches_the_loader(tmp_path):
    data = module(tmp_path, sampling="rebalanced", validation_share=0.2)
    data.setup("fit")
    assert all(batch["label"].sum() == 2 for batch in data.train_dataloader())


def test_without_a_test_set_the_validation_images_are_tested(tmp_path):
    data = module(tmp_path)
    data.setup("test")
    assert list(data.used) == ["validation"]


def test_a_measurement_reads_no_training_image(tmp_path):
    data = module(tmp_path)
    data.setup("validate")
    assert list(data.used) == ["validation"]


def test_the_fingerprint_counts_and_names_nobody(tmp_path):
    data = module(tmp_path)
    data.setup("fit")
    facts = data.fingerprint()
    assert facts["licences"] == ["CC0-1.0"]
    assert sum(facts["train"]["labels"].values()) == facts["train"]["images"] == len(data.used["train"])
    assert facts["train"]["patients"] * 2 == facts["train"]["images"]
    assert "names" not in facts["train"]


def refused(data, message, stage="fit"):
    with pytest.raises(UserError, match=message) as caught:
        data.setup(stage)
    assert "\n" not in str(caught.value)


def test_a_csv_with_a_missing_file_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\ngone.png,sick\n")
    refused(module(tmp_path, [LabelledCsv(tmp_path / "labels.csv")]), r"line 2: .*gone\.png: there is no such file")


def test_a_class_absent_from_training_is_refused(tmp_path):
    refused(
        module(tmp_path, classes=["sick", "well", "dead"], num_classes=3), "no training image is of the class 'dead'"
    )


def test_an_empty_validation_set_is_refused(tmp_path):
    refused(module(tmp_path, validation_share=0.0), "the validation set is empty. Raise data.validation_share")


def test_a_class_that_only_validation_has_is_refused(tmp_path):
    pictures(tmp_path / "other")
    (tmp_path / "other" / "well").rename(tmp_path / "other" / "odd")
    refused(
        module(tmp_path, validation=[ClassFolders(tmp_path / "other")]), "is of the class 'odd', but the classes are"
    )


def test_a_patient_in_training_and_validation_is_refused(tmp_path):
    source = pictures(tmp_path / "images")
    refused(module(tmp_path, [source], validation=[source]), "8 patients are in the training and the validation set")


def test_a_network_of_other_classes_is_refused(tmp_path):
    refused(module(tmp_path, num_classes=3), r"the network has 3 classes and the data 2 \(sick, well\)")


def test_a_dicom_file_without_pixels_is_refused(tmp_path):
    source = pictures(tmp_path / "images")
    dataset = image_dataset(np.zeros((8, 8), np.uint8))
    del dataset.PixelData
    save(tmp_path / "images" / "sick" / "90_1.dcm", dataset)
    refused(module(tmp_path, [source]), r"90_1\.dcm: .*pixels")


def test_an_epoch_shorter_than_a_batch_is_refused(tmp_path):
    refused(module(tmp_path, batch_size=64), "one epoch has 10 images, fewer than data.batch_size 64")


def test_impossible_options_are_refused(tmp_path):
    refused(module(tmp_path, world=3), "must be a multiple of the 3 processes")
    with pytest.raises(UserError, match="share from 0"):
        module(tmp_path, validation_share=1.5)
    with pytest.raises(UserError, match="no transform of albumentations"):
        module(tmp_path, augment=["flip"])
    data = module(tmp_path, augment=[albumentations.Resize(8, 8)])
    data.setup("fit")
    with pytest.raises(UserError, match="make 8 x 8 of 16 x 16"):
        next(iter(data.train_dataloader()))
