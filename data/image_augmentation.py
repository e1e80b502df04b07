"""Augmentation of single images by albumentations. Arrays are (C, H, W)."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import UserError


class ImageAugmentation:
    """Any transforms of albumentations, drawn from a generator.

    Args:
        transforms: albumentations transforms that keep the size of the image; none leaves images as they are.

    Raises:
        UserError: something else than a transform is among them.
    """

    def __init__(self, transforms: Sequence[Any] = ()) -> None:
        self.compose = None
        if transforms:
            # The library would otherwise ask the network for its newest version.
            os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
            import albumentations

            for each in transforms:
                if not isinstance(each, albumentations.BasicTransform | albumentations.BaseCompose):
                    raise UserError(
                        f"data.augment: {each!r} is no transform of albumentations; give its class path, such as "
                        "albumentations.HorizontalFlip, and arguments that it has."
                    )
            self.compose = albumentations.Compose(list(transforms))

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return the image after the draws of `generator`.

        Raises:
            UserError: the transforms changed the size of the image.
        """
        if self.compose is None:
            return image
        self.compose.set_random_seed(int(generator.integers(2**31)))
        changed = self.compose(image=np.ascontiguousarray(image.transpose(1, 2, 0)))["image"].transpose(2, 0, 1)
        if changed.shape != image.shape:
            raise UserError(
                f"data.augment: the transforms make {changed.shape[2]} x {changed.shape[1]} of {image.shape[2]} x "
                f"{image.shape[1]} pixels; choose such that keep the size, or resize at the end."
            )
        return np.ascontiguousarray(changed)
