import albumentations
import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.transforms import MaskAugmentation, PairAugmentation


def pair(seed=0):
    low = np.random.default_rng(seed).integers(0, 255, (3, 8, 8), dtype=np.uint8)
    return low, low.repeat(2, axis=1).repeat(2, axis=2)  # every low pixel is a 2x2 block of the high side


def aligned(low, high):
    return np.array_equal(low.repeat(2, axis=1).repeat(2, axis=2), high)


def test_flips_and_transposes_are_alike_on_both_sides_and_all_eight_occur():
    seen = set()
    for seed in range(60):
        low, high = PairAugmentation()(*pair(), np.random.default_rng(seed))
        assert aligned(low, high)
        seen.add(low.tobytes())
    assert len(seen) == 8


def test_albumentations_draw_the_same_for_both_sides():
    transforms = [
        albumentations.RandomRotate90(p=1),
        albumentations.RandomBrightnessContrast(brightness_by_max=True, ensure_safe_range=False, p=1),
        albumentations.HueSaturationValue(p=0.5),
        albumentations.ChannelShuffle(p=0.5),
    ]
    augmentation = PairAugmentation(transforms)
    changed = 0
    for seed in range(20):
        low, high = pair()
        new_low, new_high = augmentation(low, high, np.random.default_rng(seed))
        changed += not np.array_equal(np.sort(low.ravel()), np.sort(new_low.ravel()))
        # Contrast pivots on each side's mean, which the two sides share up to rounding.
        difference = new_low.repeat(2, axis=1).repeat(2, axis=2).astype(int) - new_high
        assert np.abs(difference).max() <= 2
    assert changed > 10


def test_augmentation_follows_from_the_generator():
    augmentation = PairAugmentation([albumentations.RandomBrightnessContrast(p=1)])
    one, same, other = (augmentation(*pair(), np.random.default_rng(seed))[0] for seed in (4, 4, 5))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_what_is_no_transform_is_refused_by_name():
    with pytest.raises(UserError, match=r"data\.augment: .*albumentations\.RandomRotate9'.* is no transform"):
        PairAugmentation([{"class_path": "albumentations.RandomRotate9"}])


def masked(seed=0, size=16):
    """An image whose mask is where it is bright."""
    image = np.random.default_rng(seed).integers(0, 255, (3, size, size), dtype=np.uint8)
    return image, (image[0] > 127).astype(np.uint8)


def test_a_mask_moves_with_its_image():
    augmentation = MaskAugmentation([albumentations.D4(p=1)])
    seen = set()
    for seed in range(60):
        image, mask = augmentation(*masked(), np.random.default_rng(seed))
        assert np.array_equal(mask, image[0] > 127)
        seen.add(mask.tobytes())
    assert len(seen) == 8


def test_a_mask_keeps_its_values_whatever_becomes_of_the_image():
    transforms = [albumentations.Rotate(45, p=1), albumentations.RandomBrightnessContrast(p=1)]
    image, mask = masked()
    changed, moved = MaskAugmentation(transforms)(image, mask * 3, np.random.default_rng(0))
    assert set(np.unique(moved)) == {0, 3}
    assert not np.array_equal(changed, image)


def test_augmentation_of_masks_follows_from_the_generator():
    augmentation = MaskAugmentation([albumentations.Affine(rotate=(-30, 30), p=1)])
    one, same, other = (augmentation(*masked(), np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert all(map(np.array_equal, one, same))
    assert not np.array_equal(one[1], other[1])


def test_without_transforms_nothing_changes():
    image, mask = masked()
    assert all(map(np.array_equal, MaskAugmentation()(image, mask, np.random.default_rng(0)), (image, mask)))


def test_what_is_augmented_is_not_written_to():
    image, mask = masked()
    image.flags.writeable = mask.flags.writeable = False
    MaskAugmentation([albumentations.CoarseDropout(p=1)])(image, mask, np.random.default_rng(0))


def test_transforms_of_masks_that_change_the_size_are_refused():
    with pytest.raises(UserError, match=r"data\.augment: the transforms make 8 x 8 of 16 x 16 pixels"):
        MaskAugmentation([albumentations.RandomCrop(8, 8)])(*masked(), np.random.default_rng(0))


def test_what_is_no_transform_of_masks_is_refused_by_name():
    with pytest.raises(UserError, match=r"data\.augment: .* is no transform of albumentations"):
        MaskAugmentation(["flip"])
