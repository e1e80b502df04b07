import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from monai.transforms import Lambdad, RandAffined, RandFlipd, RandGaussianNoised

from foveal.core.errors import UserError
from foveal.data.volume_augmentation import VolumeAugmentation
from foveal.data.volume_data import VolumeData

NNUNET = """
- class_path: monai.transforms.RandRotated
  init_args:
    {keys: [image, mask], prob: 0.2, range_x: 0.5236, range_y: 0.5236, range_z: 0.5236, mode: [bilinear, nearest]}
- class_path: monai.transforms.RandZoomd
  init_args: {keys: [image, mask], prob: 0.2, min_zoom: 0.7, max_zoom: 1.4, mode: [trilinear, nearest]}
- {class_path: monai.transforms.RandGaussianNoised, init_args: {keys: image, prob: 0.1, std: 0.316}}
- class_path: monai.transforms.RandGaussianSmoothd
  init_args: {keys: image, prob: 0.2, sigma_x: [0.5, 1.0], sigma_y: [0.5, 1.0], sigma_z: [0.5, 1.0]}
- {class_path: monai.transforms.RandScaleIntensityd, init_args: {keys: image, prob: 0.15, factors: 0.25}}
- class_path: monai.transforms.RandScaleIntensityFixedMeand
  init_args: {keys: image, prob: 0.15, factors: 0.25, preserve_range: true}
- class_path: monai.transforms.RandSimulateLowResolutiond
  init_args: {keys: image, prob: 0.25, zoom_range: [0.5, 1.0]}
- class_path: monai.transforms.RandAdjustContrastd
  init_args: {keys: image, prob: 0.1, gamma: [0.7, 1.5], invert_image: true, retain_stats: true}
- class_path: monai.transforms.RandAdjustContrastd
  init_args: {keys: image, prob: 0.3, gamma: [0.7, 1.5], retain_stats: true}
- {class_path: monai.transforms.RandFlipd, init_args: {keys: [image, mask], prob: 0.5, spatial_axis: 0}}
- {class_path: monai.transforms.RandFlipd, init_args: {keys: [image, mask], prob: 0.5, spatial_axis: 1}}
- {class_path: monai.transforms.RandFlipd, init_args: {keys: [image, mask], prob: 0.5, spatial_axis: 2}}
"""
"""The augmentation of nnU-Net, as configs have it."""
BOTH = ["image", "mask"]


def pair(size=(12, 10, 8)):
    generator = np.random.default_rng(0)
    mask = np.zeros(size, np.uint8)
    mask[3:8, 3:7, 2:6] = 2
    return generator.normal(0, 1, (1, *size)).astype(np.float32) + 4 * mask, mask


def augmented(transforms, seed=0, size=(12, 10, 8)):
    return VolumeAugmentation(transforms)(*pair(), size, np.random.default_rng(seed))


def from_yaml(text):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(VolumeData, "data")
    options = {"train": [], "augment": yaml.safe_load(text)}
    path = "foveal.data.volume_data.VolumeData"
    return parser.instantiate(parser.parse_object({"data": {"class_path": path, "init_args": options}})).data


def test_without_transforms_nothing_changes():
    image, mask = augmented([])
    assert np.array_equal(image, pair()[0])
    assert np.array_equal(mask, pair()[1])
    assert mask.dtype == torch.int64


def test_image_and_mask_are_changed_alike():
    image, mask = augmented([RandFlipd(BOTH, prob=1, spatial_axis=0)])
    assert np.array_equal(image, pair()[0][:, ::-1])
    assert np.array_equal(mask, pair()[1][::-1])
    assert type(image) is torch.Tensor


def test_draws_follow_from_the_generator_alone():
    transforms = [RandGaussianNoised("image", prob=1), RandFlipd(BOTH, prob=0.5)]
    one, same, other = (augmented(transforms, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_what_is_more_than_a_patch_is_cut_off_all_around():
    image, mask = augmented([], size=(8, 8, 8))
    assert np.array_equal(image, pair()[0][:, 2:10, 1:9])
    assert np.array_equal(mask, pair()[1][2:10, 1:9])


def test_the_given_arrays_stay_as_they_are():
    image, mask = pair()
    VolumeAugmentation([Lambdad("image", lambda x: x.mul_(0))])(image, mask, mask.shape, np.random.default_rng(0))
    assert np.array_equal(mask, pair()[1])


def test_the_augmentation_of_nnunet_keeps_size_classes_and_finite_values():
    data = from_yaml(NNUNET)
    assert len(data.augmentation.compose.transforms) == 12
    changed = 0
    for seed in range(40):
        image, mask = data.augmentation(*pair(), (12, 10, 8), np.random.default_rng(seed))
        assert image.shape == (1, 12, 10, 8)
        assert image.isfinite().all()
        assert set(mask.unique().tolist()) <= {0, 2}
        assert image[0][mask == 2].mean() > image[0][mask == 0].mean() + 2
        changed += not np.array_equal(image, pair()[0])
    assert changed > 30


def test_a_mask_between_classes_is_told():
    with pytest.raises(UserError, match="the mask was interpolated between classes"):
        augmented([RandAffined(BOTH, prob=1, rotate_range=0.5, mode="bilinear")])


def test_a_size_that_is_too_small_is_told():
    with pytest.raises(UserError, match="the transforms make 12 x 10 x 8 voxels, fewer than a patch of 16 x 8 x 8"):
        augmented([], size=(16, 8, 8))


def test_what_is_no_transform_is_told():
    with pytest.raises(UserError, match="is no transform of MONAI"):
        VolumeAugmentation(["RandFlipd"])
