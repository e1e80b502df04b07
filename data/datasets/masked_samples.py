"""Samples of images with masks for training, and whole cases for evaluation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...core.errors import UserError
from ..unit_image import to_tensor
from .mask_decoding import Size
from .masked_files import MaskedFile
from .masked_images import MaskedImage

MEMORY = 1 << 30  # bytes of training images that are held in memory; more stay in the cache's files


class Entry(NamedTuple):
    """An image and the file that it is in."""

    case: MaskedImage
    file: MaskedFile

    @property
    def slice(self) -> int:
        """Its number in the file."""
        return self.case.slice or 0


class TrainingMasks(Dataset[dict[str, Tensor]]):
    """Augmented images with masks of one size; sample number n is a pure function of (seed, n).

    Args:
        entries: the images.
        size: of a sample; images are resized to it, or cropped at random.
        is_crop: crop.
        seed: seed of every draw.
        augment: called with (image, mask, generator) on uint8 arrays (C, H, W) and (H, W); gives both back.
        memory: bytes of images and masks that may be held decoded.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        size: Size,
        is_crop: bool,
        seed: int,
        augment: Callable[..., Any],
        memory: int = MEMORY,
    ) -> None:
        self.entries = list(entries)
        self.size = size
        self.is_crop = is_crop
        self.seed = seed
        self.augment = augment
        self.held = self._all() if self._bytes() <= memory else None

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Return {"image", "mask"}: float32 in 0..1 (C, H, W); class numbers int64 (H, W), or soft (1, H, W) in 0..1.

        Raises:
            UserError: the augmentation changes the size.
        """
        generator = np.random.default_rng([self.seed, number])
        index = number % len(self.entries)
        image, mask = self.held[index] if self.held else self._stored(self.entries[index])
        if self.is_crop:
            window = self._window(mask.shape, generator)
            image, mask = image[:, *window], mask[window]
        file = self.entries[index].file
        image, mask = self.augment(np.broadcast_to(image, (file.channels, *image.shape[1:])), mask, generator)
        return {"image": to_tensor(image), "mask": to_tensor(mask)[None] if file.code.is_soft else _numbers(mask)}

    def _window(self, shape: Sequence[int], generator: np.random.Generator) -> tuple[slice, ...]:
        corner = (int(generator.integers(old - new + 1)) for old, new in zip(shape, self.size, strict=True))
        return tuple(slice(start, start + side) for start, side in zip(corner, self.size, strict=True))

    def _stored(self, entry: Entry) -> tuple[np.ndarray, np.ndarray]:
        images, masks = self._arrays(entry.file)
        return images[entry.slice], masks[entry.slice]

    def _arrays(self, file: MaskedFile) -> tuple[np.ndarray, np.ndarray]:
        return file.training(None if self.is_crop else self.size)

    def _all(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Copy all into memory, which the loading processes share."""
        held, opened = [], None
        for entry in self.entries:
            if opened is None or opened[0] is not entry.file:  # slices of a volume follow one another
                opened = (entry.file, *self._arrays(entry.file))
            _, images, masks = opened
            held.append((np.array(images[entry.slice]), np.array(masks[entry.slice])))
        return held

    def _bytes(self) -> int:
        slices = Counter(entry.file for entry in self.entries)
        return sum(count * each[0].nbytes for file, count in slices.items() for each in self._arrays(file))


class EvaluationCases(Dataset[dict[str, Any]]):
    """Images with masks at their own size, of one or several named sets.

    Args:
        sets: {set name: (name, entries of one case, in order)}.
    """

    def __init__(self, sets: dict[str, list[tuple[str, list[Entry]]]]) -> None:
        self.cases = [(part, *case) for part, cases in sets.items() for case in cases]

    def __len__(self) -> int:
        """Return the number of cases in all sets."""
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a case.

        {"set", "name", "images": S tensors float32 (C, h, w) in 0..1, "masks": int64 (S, h, w), "spacing": millimetres
        between (rows, columns) or None, "step": millimetres between slices or None}.
        """
        part, name, entries = self.cases[index]
        arrays = {file: file.whole() for file in {entry.file for entry in entries}}
        images, masks = [], []
        for entry in entries:
            stored, numbers = arrays[entry.file]
            images.append(to_tensor(stored[entry.slice]).expand(entry.file.channels, -1, -1))
            masks.append(_numbers(numbers[entry.slice]))
        facts = entries[0].file.facts()
        return {
            "set": part,
            "name": name,
            "images": images,
            "masks": torch.stack(masks),
            "spacing": facts.spacing,
            "step": facts.step,
        }


def in_cases(entries: Sequence[Entry], by_group: bool) -> list[tuple[str, list[Entry]]]:
    """Return (name, entries) of each case: an image by itself, or the images of a group in their order.

    Raises:
        UserError: images of a group have different sizes.
    """
    if not by_group:
        return [(entry.case.name, [entry]) for entry in entries]
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.case.group, []).append(entry)
    for name, members in groups.items():
        sizes = {each.file: each.file.facts().shape[2:] for each in members}
        first = sizes[members[0].file]
        if other := next((file for file, size in sizes.items() if size != first), None):
            raise UserError(
                f"{other.image}: is {sizes[other][1]} x {sizes[other][0]} pixels, other images of the group {name} are "
                f"{first[1]} x {first[0]}; evaluate them one by one by data.evaluate_by image."
            )
    return list(groups.items())


def natural_order(text: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts texts with the numbers in them by their values: slice_2 before slice_10."""
    return tuple((int(each), "") if each.isdecimal() else (-1, each) for each in re.findall(r"\d+|\D+", text))


def _numbers(mask: np.ndarray) -> Tensor:
    return torch.from_numpy(mask.astype(np.int64))
