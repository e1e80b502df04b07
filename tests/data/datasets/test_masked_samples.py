import numpy as np
import pytest
import torch

from foveal.core.errors import UserError
from foveal.data.datasets.cache import PixelCache
from foveal.data.datasets.mask_values import MaskCode
from foveal.data.datasets.masked_files import MaskedFile
from foveal.data.datasets.masked_images import MaskedImage
from foveal.data.datasets.masked_samples import Entry, EvaluationCases, TrainingMasks, in_cases, natural_order
from foveal.data.transforms import MaskAugmentation

from ...fixtures.masks import write_pair, write_volume


def entries(folder, *names, size=(24, 20), group=None, soft=False):
    cache, found = PixelCache(folder / "cache"), []
    for name in names:
        image, mask = write_pair(folder, name, size)
        file = MaskedFile(image, mask, None, 3, MaskCode(2, is_soft=soft), None, cache)
        found.append(Entry(MaskedImage(name, image, mask, group or name), file))
    return found


def training(folder, seed=0, crop=True, **options):
    members = entries(folder, "a", "b", soft=options.pop("soft", False))
    return TrainingMasks(members, (16, 16), crop, seed, MaskAugmentation(), **options)


def test_crops_of_image_and_mask_lie_at_one_place(tmp_path):
    places = set()
    for number in range(20):
        sample = training(tmp_path)[number]
        assert sample["image"].shape == (3, 16, 16)
        assert torch.equal(sample["mask"] == 1, sample["image"][0] > 0.5)
        places.add(sample["image"].sum().item())
    assert len(places) > 5


def test_a_sample_is_a_pure_function_of_seed_and_number(tmp_path):
    one, same, other = (training(tmp_path, seed) for seed in (0, 0, 1))
    assert torch.equal(one[4]["image"], same[4]["image"])
    assert not torch.equal(one[4]["image"], one[6]["image"])
    assert not torch.equal(one[4]["image"], other[4]["image"])


@pytest.mark.parametrize("crop", [True, False])
def test_samples_are_the_same_from_memory_and_from_files(tmp_path, crop):
    held, stored = training(tmp_path, crop=crop), training(tmp_path, crop=crop, memory=0)
    assert held.held
    assert not stored.held
    for number in range(4):
        assert all(torch.equal(held[number][key], stored[number][key]) for key in ("image", "mask"))


def test_soft_masks_have_a_channel_and_shares(tmp_path):
    mask = training(tmp_path, crop=False, soft=True)[0]["mask"]
    assert mask.shape == (1, 16, 16)
    assert mask.dtype == torch.float32
    assert ((mask > 0) & (mask < 1)).any()
    assert mask.max() == 1


def test_a_case_has_its_own_size(tmp_path):
    (case,) = in_cases(entries(tmp_path, "a"), by_group=False)
    item = EvaluationCases({"set": [case]})[0]
    assert (item["set"], item["name"], item["spacing"], item["step"]) == ("set", "a", None, None)
    assert [image.shape for image in item["images"]] == [(3, 24, 20)]
    assert item["images"][0].dtype == torch.float32
    assert item["masks"].shape == (1, 24, 20)
    assert item["masks"].dtype == torch.int64
    assert torch.equal(item["masks"][0] == 1, item["images"][0][0] > 0.5)


def test_the_slices_of_a_volume_are_one_case(tmp_path):
    _, labels = write_volume(tmp_path, "v")
    image, mask = tmp_path / "images/v.nii.gz", tmp_path / "labels/v.nii.gz"
    file = MaskedFile(image, mask, 2, 1, MaskCode(3), {"percentiles": [1, 99]}, PixelCache(tmp_path / "cache"))
    members = [Entry(MaskedImage(f"v {n}", image, mask, "v", 2, n), file) for n in range(6)]
    (item,) = list(map(EvaluationCases({"set": in_cases(members, by_group=True)}).__getitem__, range(1)))
    assert item["name"] == "v"
    assert np.array_equal(item["masks"], labels.transpose(2, 1, 0))
    assert len(item["images"]) == 6
    assert item["spacing"] == pytest.approx((0.75, 0.5))
    assert item["step"] == pytest.approx(2.5)


def test_images_of_several_sizes_are_no_group(tmp_path):
    members = entries(tmp_path, "a", group="p") + entries(tmp_path, "b", size=(30, 30), group="p")
    with pytest.raises(UserError, match=r"b\.png: is 30 x 30 pixels, other images of the group p are 20 x 24"):
        in_cases(members, by_group=True)
    assert len(in_cases(members, by_group=False)) == 2


def test_numbers_in_names_are_ordered_by_value():
    assert sorted(["s10", "s9", "s", "10", "9b", "s9a", "²"], key=natural_order) == [
        *("s", "s9", "s9a", "s10", "²", "9b", "10"),
    ]
