"""Augmentation of images by albumentations; of pairs, and with masks, both sides alike. Arrays are (C, H, W)."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import UserError


class Augmentation:
    """Any transforms of albumentations.

    Args:
        transforms: albumentations transforms that keep the size; none leaves images as they are.

    Raises:
        UserError: something else than a transform is among them.
    """

    def __init__(self, transforms: Sequence[Any] = ()) -> None:
        self.compose = _composed(transforms)


class PairAugmentation(Augmentation):
    """Flips and a transpose, each with probability 1/2, then any transforms of albumentations.

    Each transform runs on both sides from the same seed, so it draws the same factors, angles and fractions for both;
    choose transforms whose parameters do not count pixels.
    """

    def __call__(
        self, low: np.ndarray, high: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return both patches after the draws of `generator`."""
        flip_rows, flip_columns, transpose = generator.random(3) < 0.5
        low, high = (_flipped(patch, flip_rows, flip_columns, transpose) for patch in (low, high))
        if self.compose is None:
            return low, high
        seed = _seed(generator)
        low, high = (_changed(self.compose, seed, patch)["image"] for patch in (low, high))
        return low, high


class ImageAugmentation(Augmentation):
    """Any transforms of albumentations, applied to one image.

    Nothing is added to them: a flip would make a left kidney a right one.
    """

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return the image after the draws of `generator`.

        Raises:
            UserError: the transforms change the size.
        """
        return image if self.compose is None else _changed(self.compose, _seed(generator), image)["image"]


class MaskAugmentation(Augmentation):
    """Any transforms of albumentations, applied to an image and its mask together, and nothing beside, as above."""

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return image (C, H, W) and mask (H, W) after the draws of `generator`.

        Raises:
            UserError: the transforms change the size.
        """
        if self.compose is None:
            return image, mask
        changed = _changed(self.compose, _seed(generator), image, mask=np.array(mask, order="C"))
        return changed["image"], changed["mask"]


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


def _seed(generator: np.random.Generator) -> int:
    return int(generator.integers(2**31))


def _changed(compose: Any, seed: int, image: np.ndarray, **others: np.ndarray) -> dict[str, np.ndarray]:
    """Return an image, and what is changed with it, after transforms; all are copied, as these may write into them."""
    compose.set_random_seed(seed)
    found = compose(image=np.array(image.transpose(1, 2, 0), order="C"), **others)
    (height, width), (new_height, new_width) = image.shape[1:], found["image"].shape[:2]
    if (height, width) != (new_height, new_width):
        raise UserError(
            f"data.augment: the transforms make {new_width} x {new_height} of {width} x {height} pixels; choose such "
            "that keep the size, or resize at the end."
        )
    return found | {"image": np.ascontiguousarray(found["image"].transpose(2, 0, 1))}


def _flipped(patch: np.ndarray, rows: bool, columns: bool, transpose: bool) -> np.ndarray:
    patch = patch[:, ::-1] if rows else patch
    patch = patch[:, :, ::-1] if columns else patch
    return patch.transpose(0, 2, 1) if transpose else patch
