import json
from types import SimpleNamespace

import monai.transforms
import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from foveal.core.errors import UserError
from foveal.data.datasets.volume_pairs import VolumePairs
from foveal.data.volume_channels import open_labels, open_volume
from foveal.data.volume_run import prepared_labels

from ..fixtures.volumes import Voxelwise, affine_of, arrays, data_module, save, write_pairs


def module(tmp_path, count=6, fixture=None, **options):
    source = write_pairs(tmp_path, count, **(fixture or {}))
    return data_module(tmp_path / "cache", **{"train": [source]} | options)


def ready(tmp_path, stage="fit", **options):
    data = module(tmp_path, **options)
    data.setup(stage)
    return data


def test_batches_are_normalised_patches_with_class_numbers(tmp_path):
    data = ready(tmp_path, batch_size=4)
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    for batch in batches:
        assert batch["image"].shape == (4, 1, *data.plan.patch_size)
        assert batch["image"].dtype == torch.float32
        assert batch["mask"].shape == (4, *data.plan.patch_size)
        assert batch["mask"].dtype == torch.int64
        assert batch["mask"].max() <= 2
    assert torch.cat([batch["image"] for batch in batches]).mean().abs() < 0.2


def test_loaded_by_workers_batches_are_the_same(tmp_path):
    batches = []
    for workers in (0, 1, 2):
        augment = [monai.transforms.RandGaussianNoised("image", prob=0.5)]
        data = ready(tmp_path, workers=workers, augment=augment, patch_size=(8, 8, 8))
        batches.append(list(data.train_dataloader()))
    for others in batches[1:]:
        assert all(torch.equal(one["image"], two["image"]) for one, two in zip(batches[0], others, strict=True))


def test_two_processes_share_each_batch_of_one(tmp_path):
    parts = []
    for world, rank in ((1, 0), (2, 0), (2, 1)):
        data = ready(tmp_path, world=world, rank=rank, batch_size=4, patch_size=(4, 4, 4))
        parts.append(list(data.train_dataloader()))
    for whole, first, second in zip(*parts, strict=True):
        shares = torch.stack([first["image"], second["image"]], dim=1).flatten(0, 1)
        assert torch.equal(whole["image"], shares)


def test_every_batch_has_its_share_of_centred_patches(tmp_path):
    data = ready(tmp_path, batch_size=3, patch_size=(4, 4, 4), patches_per_epoch=60)
    assert all(batch["mask"].flatten(1).any(1)[-1] for batch in data.train_dataloader())


def test_a_resumed_epoch_has_its_own_samples(tmp_path):
    data = ready(tmp_path, patch_size=(4, 4, 4))
    first = next(iter(data.train_dataloader()))["image"]
    data.trainer.current_epoch = 1
    again = next(iter(data.train_dataloader()))["image"]
    assert not torch.equal(first, again)
    assert torch.equal(again[0], data.training[12]["image"])


def test_too_few_patients_for_the_folds_are_told(tmp_path):
    with pytest.raises(UserError, match=r"2 patients cannot be split into data.folds 3"):
        ready(tmp_path, count=2)


def test_given_validation_volumes_go_before_folds(tmp_path):
    other = write_pairs(tmp_path / "other", 2, name="scan{}")
    data = ready(tmp_path, validation=[other])
    assert {name: len(cases) for name, cases in data.used.items()} == {"train": 6, "validation": 2}


def test_evaluation_gives_files_that_can_be_read(tmp_path):
    data = ready(tmp_path, stage="validate", relabel={2: 1}, net=Voxelwise(2))
    items = list(data.val_dataloader())
    assert len(items) == 2
    assert {item["set"] for item in items} == {"validation"}
    number = int(items[0]["name"].removeprefix("case"))
    with open_volume(items[0]["images"]) as source:
        assert source.shape == (1, 10, 14, 16)
    with open_labels(items[0]["label"], items[0]["relabel"]) as source:
        assert prepared_labels(source, data.plan.card()).sum() == (arrays(number)[1] > 0).sum()


def test_named_test_sets_are_scored_apart_and_the_validation_volumes_without_them(tmp_path):
    other = write_pairs(tmp_path / "other", 2)
    data = ready(tmp_path, stage="test", test={"near": write_pairs(tmp_path), "far": other})
    assert [item["set"] for item in data.test_dataloader()] == ["near"] * 6 + ["far"] * 2
    assert [item["set"] for item in ready(tmp_path, stage="test").test_dataloader()] == ["validation"] * 2


def test_the_plan_is_that_of_the_cases_of_all_folds(tmp_path):
    data = ready(tmp_path)
    plan = data.plan
    assert plan == ready(tmp_path, fold=1).plan
    assert (plan.spacing, plan.orientation, plan.modality, plan.cases) == ((1.5, 1, 1), "SPL", "MR", 6)
    assert plan.median_shape == (10, 14, 16)
    assert plan.patch_size == (12, 16, 16)
    assert plan.channels == ("MR",)
    counts = sum(np.bincount(arrays(int(each.name[4:]))[1].ravel()) for each in data.used["train"])
    assert data.class_counts().tolist() == counts.tolist()  # of the training cases alone
    json.dumps(plan.plain())


def test_a_patch_follows_from_memory(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv3d(1, 64, 1), torch.nn.Sigmoid(), torch.nn.Conv3d(64, 3, 1))
    net.in_channels, net.num_classes, net.size_multiple = 1, 3, (2, 4, 4)
    small = ready(tmp_path, net=net, memory_mb=1).plan.patch_size
    assert np.prod(small) * 4 * 65 * 2 <= 1e6  # the input and the sigmoid's output, of two samples
    assert np.prod(small) * 4 * 65 * 2 > 0.6e6


def test_the_fingerprint_tells_no_names(tmp_path):
    found = ready(tmp_path).fingerprint()
    assert found["train"]["cases"] == 4
    assert "case" not in json.dumps(found).replace("cases", "")
    assert found == ready(tmp_path).fingerprint()


def test_all_problems_are_counted_and_the_first_is_named(tmp_path):
    data = module(tmp_path, workers=2)
    for number in (1, 4):
        values, labels = arrays(number)
        save(labels + 7, tmp_path / "labels" / f"case{number}.nii.gz")
    with pytest.raises(
        UserError, match=r"2 of 6 cases cannot be used; the first: .*case[14].nii.gz: holds the label 9"
    ):
        data.setup("fit")
    save(values, tmp_path / "images" / "case4.nii.gz", affine_of((1, 1, 3)))
    save(labels, tmp_path / "labels" / "case4.nii.gz")
    save(arrays(1)[1], tmp_path / "labels" / "case1.nii.gz")
    data = data_module(tmp_path / "cache", train=data.train_sources)
    with pytest.raises(UserError, match=r"labels/case4.nii.gz: lies on another grid than case4.nii.gz"):
        data.setup("fit")
    assert not any(path.name.startswith(".") for path in (tmp_path / "cache").iterdir())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"world": 2, "batch_size": 3}, "data.batch_size 3 must be a multiple of the 2 processes"),
        ({"patches_per_epoch": 1}, "data.patches_per_epoch 1 is less than data.batch_size 2"),
        (
            {"patch_size": (4, 6, 4)},
            "data.patch_size 4 x 6 x 4: the network takes sizes that are multiples of 4 x 4 x 4",
        ),
        ({"net": Voxelwise(4)}, "no training label holds the class 3"),
        ({"memory_mb": 0.0001}, "does not fit into data.memory_mb"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, options, told):
    with pytest.raises(UserError, match=told):
        ready(tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "told"),
    [({"foreground_share": 1.5}, "foreground_share 1.5"), ({"fold": 3}, "data.fold 3"), ({"folds": 1}, "data.folds 1")],
)
def test_impossible_options_are_told_at_once(tmp_path, options, told):
    with pytest.raises(UserError, match=told):
        module(tmp_path, **options)


def test_unknown_modality_and_other_numbers_of_classes_are_told(tmp_path):
    write_pairs(tmp_path)
    folders = tmp_path / "images", tmp_path / "labels"
    with pytest.raises(UserError, match=r"set data.modality"):
        ready(tmp_path, train=[VolumePairs(*folders)])
    with pytest.raises(UserError, match=r"the data has 1 classes \(liver\).*set model.net.num_classes to 2"):
        ready(tmp_path, train=[VolumePairs(*folders, "MR", classes=["liver"])])
    with pytest.raises(UserError, match=r"the data has 2 channels \(a, b\), the network 1"):
        ready(tmp_path, train=[VolumePairs(*folders, "MR", channels=["a", "b"])])


def test_merged_classes_keep_the_names_of_those_that_stay(tmp_path):
    write_pairs(tmp_path)
    source = VolumePairs(tmp_path / "images", tmp_path / "labels", "CT", classes=["liver", "tumour"])
    data = ready(tmp_path, train=[source], relabel={2: 1}, net=Voxelwise(2))
    assert data.plan.classes == ("liver",)
    assert set(data.plan.intensity) == {"window"}


def test_a_network_that_cannot_run_without_content_needs_a_patch(tmp_path):
    class Branching(Voxelwise):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else super().forward(-x)

    with pytest.raises(UserError, match=r"the memory that Branching needs cannot be foreseen .*give data.patch_size"):
        ready(tmp_path, net=Branching())
    assert ready(tmp_path, net=Branching(), patch_size=(4, 4, 4)).plan.patch_size == (4, 4, 4)


def test_patients_who_are_trained_on_and_scored_are_told(tmp_path, caplog):
    source = write_pairs(tmp_path)
    ready(tmp_path, validation=[source])
    assert "patients of the validation set are trained on too" in caplog.text


def test_a_training_goes_on_by_its_own_plan_alone(tmp_path):
    data = ready(tmp_path)
    data.trainer.state = SimpleNamespace(fn=TrainerFn.FITTING)
    state = json.loads(json.dumps(data.state_dict()))
    data.load_state_dict(state)
    with pytest.raises(
        UserError, match=r"another spacing now \(\[1.5, 1.0, 1.0\]\) than when .* \(\[2.0, 1.0, 1.0\]\)"
    ):
        data.load_state_dict(state | {"spacing": [2.0, 1.0, 1.0]})
    data.trainer.state.fn = TrainerFn.TESTING
    data.load_state_dict(state | {"spacing": [2.0, 1.0, 1.0]})
