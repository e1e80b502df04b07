import numpy as np
import pytest
import torch

from foveal.data.datasets.volume_patches import TrainingPatches, centred_of, cut
from foveal.data.volume_augmentation import VolumeAugmentation
from foveal.data.volume_cache import PreparedVolume, places_of


def volume(shape, seed=0, objects=True):
    """Labels with a voxel of class 1 and a cube of class 2; the image is the labels plus the case's number in tens."""
    labels = np.zeros(shape, np.uint8)
    if objects:
        labels[1, 2, 3] = 1
        labels[-4:-1, -4:-1, -4:-1] = 2
    return PreparedVolume((labels + 10 * seed).astype(np.float32)[None], labels, places_of(labels))


def patches(volumes, size=(5, 5, 5), context=(0, 0, 0), batch_size=3, share=1 / 3, seed=0, **options):
    return TrainingPatches(volumes, size, context, batch_size, share, seed, VolumeAugmentation(), **options)


def test_samples_are_patches_of_image_and_mask_at_one_place():
    data = patches([volume((20, 22, 24))])
    for number in range(30):
        sample = data[number]
        assert sample["image"].shape == (1, 5, 5, 5)
        assert sample["image"].dtype == torch.float32
        assert sample["mask"].shape == (5, 5, 5)
        assert sample["mask"].dtype == torch.int64
        assert torch.equal(sample["image"][0].long(), sample["mask"])


@pytest.mark.parametrize(
    ("batch_size", "share", "expected"),
    [
        *[(2, 1 / 3, (2, 1)), (3, 1 / 3, (3, 1)), (4, 1 / 3, (4, 2)), (6, 0.5, (6, 3)), (2, 1, (2, 2)), (2, 0, (2, 0))],
        *[(1, 1 / 3, (3, 1)), (1, 0.5, (2, 1)), (1, 1, (1, 1)), (1, 0, (1, 0)), (1, 0.4, (2, 1))],
    ],
)
def test_at_least_the_share_of_each_batch_is_centred(batch_size, share, expected):
    assert centred_of(batch_size, share) == expected


def test_centred_patches_hold_an_object_and_each_class_as_often():
    data = patches([volume((40, 40, 40), seed) for seed in range(3)])
    found = [data[number]["mask"] for number in range(2, 302, 3)]
    assert all(mask.any() for mask in found)
    ones = sum((mask == 1).any().item() for mask in found)
    assert 35 <= ones <= 65
    others = sum(data[number]["mask"].any().item() for number in range(0, 300, 3))
    assert others < 15


def test_an_object_lies_in_the_middle_where_the_border_is_far():
    labels = np.zeros((21, 21, 21), np.uint8)
    labels[9, 11, 12] = 1
    data = patches([PreparedVolume(labels[None].astype(np.float32), labels, places_of(labels))])
    assert data[2]["mask"][2, 2, 2] == 1


def test_a_case_without_objects_gives_patches_too():
    assert not patches([volume((20, 20, 20), objects=False)])[2]["mask"].any()


def test_every_case_comes_once_in_a_turn_and_turns_differ():
    data = patches([volume((8, 8, 8), seed) for seed in range(6)])
    turns = [[int(data[6 * turn + k]["image"].median()) // 10 for k in range(6)] for turn in range(4)]
    assert all(sorted(turn) == list(range(6)) for turn in turns)
    assert len(set(map(tuple, turns))) > 1


def test_a_sample_is_a_pure_function_of_seed_and_number():
    one, same, other = (patches([volume((30, 30, 30))], seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(one[n]["mask"], same[n]["mask"]) for n in range(9))
    assert any(not torch.equal(one[n]["mask"], other[n]["mask"]) for n in range(9))


def test_places_are_spread_over_the_whole_case():
    labels = np.arange(12, dtype=np.uint8).reshape(12, 1, 1) * np.ones((1, 3, 3), np.uint8)
    data = patches([PreparedVolume(labels[None].astype(np.float32), labels, np.empty((0, 4), np.int32))], (3, 3, 3))
    starts = [int(data[number]["mask"].min()) for number in range(200)]
    assert set(starts) == set(range(10))


def test_a_case_that_is_smaller_is_mirrored_beyond_its_border():
    data = patches([volume((4, 20, 20))], size=(8, 8, 8))
    offsets = set()
    for number in range(40):
        mask = data[number]["mask"].numpy()
        assert mask.shape == (8, 8, 8)
        offsets.add(mask.tobytes())
    assert len(offsets) > 3


def test_context_is_what_lies_around_a_patch():
    seen = []

    def look(image, mask, size, generator):
        seen.append(image)
        return VolumeAugmentation()(image, mask, size, generator)

    data = TrainingPatches([volume((30, 30, 30))], (6, 6, 6), (2, 1, 0), 2, 1, 0, look)
    sample = data[5]
    assert seen[0].shape == (1, 10, 8, 6)
    assert np.array_equal(seen[0][:, 2:8, 1:7], sample["image"])


def test_from_memory_and_from_files_samples_are_the_same(tmp_path):
    whole = volume((20, 20, 20))
    stored = []
    for number, each in enumerate(whole):
        np.save(tmp_path / f"{number}.npy", each)
        stored.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    held, mapped = patches([PreparedVolume(*stored)]), patches([PreparedVolume(*stored)], memory=0)
    assert not isinstance(held.volumes[0].image, np.memmap)
    assert isinstance(mapped.volumes[0].image, np.memmap)
    assert all(torch.equal(held[n]["image"], mapped[n]["image"]) for n in range(6))


def test_cutting_mirrors_as_far_as_there_is_something_to_mirror():
    line = np.arange(4)[None, None]
    assert cut(line, (0, 0, -2), (1, 1, 8)).ravel().tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    assert cut(line, (0, 0, -1), (1, 1, 9)).ravel().tolist() == [0, 0, 1, 2, 3, 3, 3, 3, 3]
    assert cut(line, (0, 0, 1), (1, 1, 2)).ravel().tolist() == [1, 2]
