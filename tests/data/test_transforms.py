import albumentations
import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.transforms import PairAugmentation


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
