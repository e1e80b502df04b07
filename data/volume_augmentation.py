"""Augmentation of labelled volumes by the dictionary transforms of MONAI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import UserError


class VolumeAugmentation:
    """Any dictionary transforms of MONAI on the keys "image" and "mask".

    Nothing is added to them: a mirrored body has its left kidney on the right.

    Args:
        transforms: of MONAI; interpolating ones need the mode "nearest" for the mask.

    Raises:
        UserError: something else than a transform is among them.
    """

    def __init__(self, transforms: Sequence[Any] = ()) -> None:
        self.compose = _composed(transforms)

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, size: Sequence[int], generator: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the image, float32 (C, *size), and the mask, int64 (*size), after the draws of `generator`.

        Args:
            image: float32 (C, D, H, W).
            mask: class numbers, uint8 (D, H, W).
            size: of the result; what is larger is cut off all around.
            generator: of random numbers.

        Raises:
            UserError: the transforms give less than this size, or a mask between two classes.
        """
        sample = {"image": torch.from_numpy(image), "mask": torch.from_numpy(mask)[None]}
        if self.compose is not None:
            self.compose.set_random_state(seed=int(generator.integers(2**31)))
            sample = self.compose(sample)
        values, numbers = (_plain(sample[key]) for key in ("image", "mask"))
        values, numbers = _central(values.float(), size), _central(numbers, size)[0]
        if numbers.is_floating_point() and not torch.equal(numbers, numbers.round()):
            raise UserError(
                "data.augment: the mask was interpolated between classes; give interpolating transforms "
                "`mode: [bilinear, nearest]`."
            )
        return values, numbers.long()


def _composed(transforms: Sequence[Any]) -> Any:
    if not transforms:
        return None
    from monai.transforms import Compose, Transform

    for each in transforms:
        if not isinstance(each, Transform):
            raise UserError(
                f"data.augment: {each!r} is no transform of MONAI; give its class path, such as "
                "monai.transforms.RandFlipd, and arguments that it has."
            )
    return Compose(list(transforms))


def _plain(values: Any) -> Tensor:
    """Return a tensor without MONAI's metadata."""
    return values.as_tensor() if hasattr(values, "as_tensor") else torch.as_tensor(values)


def _central(values: Tensor, size: Sequence[int]) -> Tensor:
    found = values.shape[1:]
    if any(has < wants for has, wants in zip(found, size, strict=True)):
        raise UserError(
            f"data.augment: the transforms make {' x '.join(map(str, found))} voxels, fewer than a patch of "
            f"{' x '.join(map(str, size))}; choose such that keep the size, or raise data.context."
        )
    starts = [(has - wants) // 2 for has, wants in zip(found, size, strict=True)]
    return values[:, *(slice(start, start + wants) for start, wants in zip(starts, size, strict=True))].contiguous()
