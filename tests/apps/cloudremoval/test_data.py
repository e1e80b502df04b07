from types import SimpleNamespace

import numpy as np
import pytest
import torch

from foveal.apps.cloudremoval.composing import ComposedClouds
from foveal.apps.cloudremoval.data import CloudRemovalData
from foveal.core.errors import UserError
from foveal.data.datasets.dated_places import DatedPlaces
from foveal.data.datasets.made_places import MadePlaces
from foveal.data.datasets.sen2mtc_old import Sen2MTCOld

SIDE = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three made places of nine dates."""
    folder = tmp_path_factory.mktemp("made") / "places"
    MadePlaces(str(folder), count=3, side=SIDE).images()
    return folder


def places(folder, *numbers, **options):
    return DatedPlaces(str(folder), places=[f"made_{number:02d}" for number in numbers], licence="CC0-1.0", **options)


def module(tmp_path, train, validation, dates=3, **options):
    """A data module as a Trainer has it."""
    options = {"patch": 8, "batch_size": 2, "workers": 0, "cache": tmp_path / "cache"} | options
    data = CloudRemovalData([train], [validation], **options)
    net = SimpleNamespace(dates=dates)
    data.trainer = SimpleNamespace(
        world_size=1, global_rank=0, current_epoch=0, lightning_module=SimpleNamespace(net=net)
    )
    return data


def test_batches_have_dates_truth_and_clouds(tmp_path, folder):
    data = module(tmp_path, places(folder, 0, 1), places(folder, 2))
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.training) // 2 == 3
    for batch in batches:
        assert {name: tuple(each.shape) for name, each in batch.items()} == {
            "images": (2, 3, 4, 8, 8),
            "truth": (2, 4, 8, 8),
            "clouds": (2, 3, 1, 8, 8),
        }
        assert {each.dtype for each in batch.values()} == {torch.float32}
        assert 0 < batch["truth"].mean() < 0.5
        assert set(batch["clouds"].unique().tolist()) <= {0.0, 1.0}
    assert (data.dates, data.channels, data.unit) == (3, ("red", "green", "blue", "nir"), "reflectance")
    assert data.protocol == "reflectance"


def test_cases_come_one_by_one_with_their_names(tmp_path, folder):
    data = module(tmp_path, places(folder, 0, 1), places(folder, 2))
    data.setup("fit")
    cases = list(data.val_dataloader())
    assert len(cases) == 3
    for case in cases:
        assert (case["set"], case["place"]) == (["validation"], ["made_02"])
        assert case["name"][0].startswith("made_02 2021-")
        assert case["images"].shape == (1, 3, 4, SIDE, SIDE)
        assert case["truth"].shape == (1, 4, SIDE, SIDE)
        assert case["clouds"].shape == (1, 3, 1, SIDE, SIDE)


def test_clouds_lie_where_the_images_differ_from_the_truth(tmp_path, folder):
    data = module(tmp_path, places(folder, 0), places(folder, 2))
    data.setup("validate")
    case = next(iter(data.val_dataloader()))
    difference = (case["images"] - case["truth"][:, None]).abs().mean(dim=2, keepdim=True)
    clouds = case["clouds"] == 1
    assert difference[clouds].mean() > 3 * difference[~clouds].mean()


def test_samples_follow_from_the_seed_and_are_drawn_afresh(tmp_path, folder):
    first, same = (module(tmp_path, places(folder, 0, 1), places(folder, 2)) for _ in range(2))
    other = module(tmp_path, places(folder, 0, 1), places(folder, 2), seed=1)
    for data in (first, same, other):
        data.setup("fit")
    count = len(first.training)
    for name, each in first.training[0].items():
        assert torch.equal(each, same.training[0][name])
    assert not torch.equal(first.training[0]["images"], other.training[0]["images"])
    assert not torch.equal(first.training[0]["images"], first.training[count]["images"])


def test_flips_and_turns_are_alike_for_all(tmp_path, folder):
    data = module(tmp_path, places(folder, 0), places(folder, 2), patch=SIDE)
    data.setup("fit")
    truth = data.used["train"][0][1].case(data.used["train"][0][1].cases(SIDE)[0])
    seen = set()
    for number in range(0, 30 * len(data.training), len(data.training)):
        sample = data.training[number]
        for quarters in range(4):
            for is_flipped in (False, True):
                arrays = [np.rot90(each, quarters, (-2, -1)) for each in truth]
                arrays = [each[..., ::-1] if is_flipped else each for each in arrays]
                if np.array_equal(arrays[1], sample["truth"]):
                    seen.add((quarters, is_flipped))
                    np.testing.assert_array_equal(arrays[0], sample["images"])
                    np.testing.assert_array_equal(arrays[2], sample["clouds"])
    assert len(seen) == 8


def test_clouds_are_composed_where_that_is_asked_for(tmp_path, folder):
    composed = ComposedClouds([places(folder, 0)], [places(folder, 1)], most_cloud=0.0)
    data = module(tmp_path, composed, places(folder, 2))
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["images"].shape == (2, 3, 4, 8, 8)
    assert data.fingerprint()["train"][0] | {"sha256": ""} == {
        "layout": "ComposedClouds",
        "licence": "CC0-1.0",
        "scenes": 3,
        "places": 2,
        "sha256": "",
    }


def test_the_fingerprint_tells_other_data(tmp_path, folder):
    data, other = (module(tmp_path, places(folder, 0), places(folder, number)) for number in (1, 2))
    for each in (data, other):
        each.setup("fit")
    assert data.fingerprint()["train"] == other.fingerprint()["train"]
    assert data.fingerprint()["validation"] != other.fingerprint()["validation"]


def test_sets_of_a_test_are_named(tmp_path, folder):
    sets = {"near": places(folder, 1), "far": places(folder, 2, cover=(0.0, 1.0))}
    data = module(tmp_path, places(folder, 0), places(folder, 1), test=sets)
    data.setup("test")
    assert [case["set"][0] for case in data.test_dataloader()] == ["near"] * 3 + ["far"] * 3


def test_a_place_that_is_trained_on_and_scored_is_refused(tmp_path, folder):
    data = module(tmp_path, places(folder, 0, 1), places(folder, 1))
    with pytest.raises(UserError, match="1 places are in the training and the validation set, such as 'made_01'"):
        data.setup("fit")
    composed = ComposedClouds([places(folder, 0)], [places(folder, 2)], most_cloud=0.0)
    with pytest.raises(UserError, match="such as 'made_02'"):
        module(tmp_path, composed, places(folder, 2)).setup("fit")


def test_another_number_of_dates_than_the_networks_is_refused(tmp_path, folder):
    data = module(tmp_path, places(folder, 0), places(folder, 1), dates=4)
    with pytest.raises(UserError, match="the train set has 3 dates a sample, the network takes 4; set `dates`"):
        data.setup("fit")


def test_an_epoch_without_a_batch_is_refused(tmp_path, folder):
    data = module(tmp_path, places(folder, 0), places(folder, 1), batch_size=64)
    with pytest.raises(UserError, match=r"fewer than data\.batch_size 64; .* or raise data\.repeats"):
        data.setup("fit")


def test_pictures_and_reflectance_do_not_go_together(tmp_path, folder):
    data = module(tmp_path, Sen2MTCOld(str(tmp_path), "train"), places(folder, 1))
    with pytest.raises(UserError, match="sources of the unit '' and 'reflectance' do not go together"):
        _ = data.unit
