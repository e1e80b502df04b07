"""Augmentation of pairs, and of images with masks: both sides are changed alike. Arrays are (C, H, W)."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import UserError


class PairAugmentation:
    """Flips and a transpose, each with probability 1/2, then any transforms of albumentations.

    Each transform runs on both sides from the same seed, so it draws the same factors, angles and fractions for both;
    choose transforms whose parameters do not count pixels.

    Args:
        transforms: albumentations transforms.

    Raises:
        UserError: something else than a transform is among them.
    """

    def __init__(self, transforms: Sequence[Any] = ()) -> None:
        self.compose = _composed(transforms)

    def __call__(
        self, low: np.ndarray, high: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return both patches after the draws of `generator`."""
        flip_rows, flip_columns, transpose = generator.random(3) < 0.5
        low, high = (_flipped(patch, flip_rows, flip_columns, transpose) for patch in (low, high))
        if self.compose is None:
            return low, high
        seed = int(generator.integers(2**31))
        return self._changed(low, seed), self._changed(high, seed)

    def _changed(self, patch: np.ndarray, seed: int) -> np.ndarray:
        self.compose.set_random_seed(seed)
        pixels = np.ascontiguousarray(patch.transpose(1, 2, 0))
        return np.ascontiguousarray(self.compose(image=pixels)["image"].transpose(2, 0, 1))


class MaskAugmentation:
    """Any transforms of albumentations, applied to an image and its mask together.

    Nothing is added to them: a flip would make a left kidney a right one.

    Args:
        transforms: albumentations transforms that keep the size; none leaves images as they are.

    Raises:
        UserError: something else than a transform is among them.
    """

    def __init__(self, transforms: Sequence[Any] = ()) -> None:
        self.compose = _composed(transforms)

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return image (C, H, W) and mask (H, W) after the draws of `generator`.

        Raises:
            UserError: the transforms change the size.
        """
        if self.compose is None:
            return image, mask
        self.compose.set_random_seed(int(generator.integers(2**31)))
        # Copies, as transforms may write into what they are given.
        changed = self.compose(image=np.array(image.transpose(1, 2, 0), order="C"), mask=np.array(mask, order="C"))
        if changed["mask"].shape != mask.shape:
            (height, width), (new_height, new_width) = mask.shape, changed["mask"].shape
            raise UserError(
                f"data.augment: the transforms make {new_width} x {new_height} of {width} x {height} pixels; choose "
                "such that keep the size, or resize at the end."
            )
        return np.ascontiguousarray(changed["image"].transpose(2, 0, 1)), changed["mask"]


def _composed(transforms: Sequence[Any]) -> Any:
    """Return the transforms of albumentations as one, None where there are none."""
    if not transforms:
        return None
    # The library would otherwise ask the network for its newest version.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    for each in transforms:
        if not isinstance(each, albumentations.BasicTransform | albumentations.BaseCompose):
            raise UserError(
                f"data.augment: {each!r} is no transform of albumentations; give its class path, such as "
                "albumentations.RandomRotate90, and arguments that it has."
            )
    return albumentations.Compose(list(transforms))


def _flipped(patch: np.ndarray, rows: bool, columns: bool, transpose: bool) -> np.ndarray:
    patch = patch[:, ::-1] if rows else patch
    patch = patch[:, :, ::-1] if columns else patch
    return patch.transpose(0, 2, 1) if transpose else patch
