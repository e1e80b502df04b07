from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from foveal.apps.wsi.data import BagData
from foveal.core.errors import UserError
from foveal.data.datasets.bag_table import BagTable
from foveal.data.datasets.feature_bags import FeatureBags
from foveal.tests.fixtures.bags import features, write_folder, write_h5, write_labels, write_table


def module(train, world=1, rank=0, num_classes=2, in_channels=8, **options):
    """A data module as the Trainer of one of `world` processes has it."""
    data = BagData([train], **{"validation_share": 0.25, "workers": 0} | options)
    net = SimpleNamespace(num_classes=num_classes, in_channels=in_channels)
    data.trainer = SimpleNamespace(
        world_size=world, global_rank=rank, current_epoch=0, lightning_module=SimpleNamespace(net=net)
    )
    return data


def folder(path, **options):
    return FeatureBags(*write_folder(path, **options))


def names(loader):
    return [batch["name"][0] for batch in loader]


def test_a_batch_is_one_bag(tmp_path):
    data = module(folder(tmp_path))
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    assert batch["features"].shape == (1, 6, 8)
    assert batch["features"].dtype == torch.float32
    number = int(batch["name"][0][1:])
    assert np.array_equal(batch["features"][0].numpy(), features(number).astype(np.float32))
    assert (batch["label"].item(), batch["set"], batch["patient"]) == (number % 2, ["validation"], [f"p{number}"])


def test_every_bag_comes_once_an_epoch_in_an_order_of_its_own(tmp_path):
    data = module(folder(tmp_path))
    data.setup("fit")
    first, again = names(data.train_dataloader()), names(data.train_dataloader())
    data.trainer.current_epoch = 1
    assert first == again != names(data.train_dataloader())
    assert sorted(first) == sorted(bag.name for bag in data.used["train"]) == sorted(names(data.train_dataloader()))
    assert len(first) == 8


def test_two_processes_share_the_bags(tmp_path):
    source = folder(tmp_path)
    shares = []
    for rank in (0, 1):
        data = module(source, world=2, rank=rank)
        data.setup("fit")
        shares.append((names(data.train_dataloader()), names(data.val_dataloader())))
    assert len({*shares[0][0], *shares[1][0]}) == 8
    assert len({*shares[0][1], *shares[1][1]}) == 4


def test_patients_are_never_parted(tmp_path):
    for options in ({"validation_share": 0.3, "test_share": 0.3}, {"fold": 1, "folds": 3}):
        data = module(folder(tmp_path, bags=24, per_patient=2), **options)
        data.setup("fit")
        people = {name: {bag.patient for bag in bags} for name, bags in data.used.items()}
        assert all(people.values())
        assert not people["train"] & people["validation"]
        data.setup("test")
        if "test_share" in options:
            assert not {bag.patient for bag in data.used["test"]} & (people["train"] | people["validation"])


def test_every_bag_validates_in_one_fold(tmp_path):
    source, seen = folder(tmp_path), []
    for fold in range(4):
        data = module(source, fold=fold, folds=4)
        data.setup("fit")
        seen += names(data.val_dataloader())
        assert len(data.used["train"]) == 9
    assert sorted(seen) == sorted(f"s{number}" for number in range(12))


def test_few_shots(tmp_path):
    chosen = []
    for seed in (0, 1):
        data = module(folder(tmp_path), shots=2, split_seed=seed)
        data.setup("fit")
        assert data.class_counts == [2, 2]
        chosen.append({bag.name for bag in data.used["train"]})
    assert chosen[0] != chosen[1]
    with pytest.raises(UserError, match="only 4 training bags are of the class 'normal'"):
        module(folder(tmp_path), shots=5).setup("fit")


def test_mean_and_deviation_are_those_of_all_training_instances(tmp_path):
    data = module(BagTable(write_table(tmp_path / "t.csv")))
    data.setup("fit")
    rows = np.concatenate([bag.read().values for bag in data.used["train"]])
    mean, deviation = data.moments()
    assert np.allclose(mean, rows.mean(0), atol=1e-5)
    assert np.allclose(deviation, rows.std(0), atol=1e-5)


def test_a_feature_that_does_not_vary_is_divided_by_one(tmp_path):
    values = features(0)
    values[:, 3] = 7
    for number in range(8):
        write_h5(tmp_path / "f" / f"{number}.h5", values)
    labels = write_labels(tmp_path / "l.csv", [[number, number % 2] for number in range(8)])
    data = module(FeatureBags(tmp_path / "f", labels))
    data.setup("fit")
    mean, deviation = data.moments()
    assert (mean[3].item(), deviation[3].item()) == (7, 1)


def test_the_fingerprint_tells_of_the_features_and_names_nobody(tmp_path):
    place, labels = write_folder(tmp_path)
    for path in place.iterdir():
        with h5py.File(path, "a") as file:
            file.attrs.update(encoder="uni", mpp=0.5, slide=path.stem)
    data = module(FeatureBags(place, labels, licence="CC0-1.0"))
    data.setup("fit")
    found = data.fingerprint()
    assert found["features"] == {"encoder": "uni", "mpp": 0.5}
    assert found["train"]["bags"] == found["train"]["patients"] == 8
    assert found["licences"] == ["CC0-1.0"]
    assert "p1" not in str(found)
    assert "s1" not in str(found)


def test_a_bag_of_one_tile_is_fine(tmp_path):
    place, labels = write_folder(tmp_path)
    write_h5(place / "s3.h5", features(3, 1))
    data = module(FeatureBags(place, labels))
    data.setup("fit")
    sizes = [batch["features"].shape[1] for batch in (*data.train_dataloader(), *data.val_dataloader())]
    assert sorted(sizes) == [1] + [6] * 11


def wider(place, labels):
    write_h5(place / "s3.h5", features(3, channels=9))
    return r"s3\.h5: s3 has features of 9 channels, but the network takes 8; all must be of one encoder"


def not_a_number(place, labels):
    values = features(3)
    values[[2, 4], 1] = np.nan
    write_h5(place / "s3.h5", values)
    return r"s3\.h5: s3 has features that are no finite numbers in 2 of 6 rows, first row 2"


def infinite(place, labels):
    write_h5(place / "s3.h5", np.where(features(3) > 3, np.inf, features(3)))
    return "no finite numbers"


def other_encoder(place, labels):
    for number in range(12):
        write_h5(place / f"s{number}.h5", features(number), encoder="uni" if number == 5 else "resnet18")
    return "s5 has features of encoder 'uni', but .* of 'resnet18'|of encoder 'resnet18', but s5 of 'uni'"


def damaged(place, labels):
    (place / "s3.h5").write_bytes(b"no")
    (place / "s4.h5").write_bytes(b"no")
    return r"2 of 12 bags cannot be used; the first: .*s\d\.h5: is no HDF5 file"


def one_class(place, labels):
    write_labels(labels, [[f"s{number}", "all"] for number in range(12)])
    return "the network has 2 classes and the data 1"


@pytest.mark.parametrize("damage", [wider, not_a_number, infinite, other_encoder, damaged, one_class])
def test_what_cannot_be_used_is_told_before_training(tmp_path, damage):
    place, labels = write_folder(tmp_path)
    message = damage(place, labels)
    with pytest.raises(UserError, match=message):
        module(FeatureBags(place, labels)).setup("fit")


def test_leakage_between_parts_is_refused(tmp_path):
    place, _ = write_folder(tmp_path)
    rows = [[f"s{number}", number % 2, f"p{number % 7}", "train" if number < 8 else "val"] for number in range(12)]
    header = ["slide", "label", "patient", "split"]
    labels = write_labels(tmp_path / "l.csv", rows, header)
    parts = [FeatureBags(place, labels, part) for part in ("train", "val")]
    with pytest.raises(UserError, match="4 patients are in the training and the validation set, such as 'p1'"):
        module(parts[0], validation=parts[1:]).setup("fit")
    same = write_labels(tmp_path / "m.csv", [row[:2] for row in rows])
    with pytest.raises(UserError, match="12 patients are in the training and the validation set, such as 'bag s0'"):
        module(FeatureBags(place, same), validation=[FeatureBags(place, same)]).setup("fit")


def test_impossible_options_are_refused(tmp_path):
    source = folder(tmp_path)
    for options, message in [
        ({"shots": 0}, "data.shots 0"),
        ({"fold": 5}, "data.fold 5: give a number from 0 to 4"),
        ({"fold": 0, "validation": [source]}, "leave out data.validation, or the fold"),
        ({"validation_share": 1.0}, "data.validation_share"),
    ]:
        with pytest.raises(UserError, match=message):
            module(source, **options)
