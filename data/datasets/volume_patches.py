"""Training patches of labelled volumes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from ..volume_cache import PreparedVolume

MEMORY = 1 << 30  # bytes of volumes that are held in memory; more stay in the cache's files
ORDER = 1  # tells the draws of the order of cases from those of a sample

Extent = tuple[int, int, int]


class TrainingPatches(Dataset[dict[str, Tensor]]):
    """Augmented patches of one size; sample number n is a pure function of (seed, n).

    Numbers in their order take each case once, in an order drawn anew for every turn. Of each `batch_size` numbers, as
    many as `foreground_share` asks for at least, the last ones, are centred on a voxel of an object: of one of the
    case's classes, all equally often. All others lie anywhere, as do those of a case without objects. A patch crosses
    the border of a case only where that is smaller; there it is mirrored, as inference pads.

    Args:
        volumes: the cases.
        size: of a patch, voxels.
        context: voxels around a patch that the augmentation sees too.
        batch_size: samples of one step over all processes; for steps of one sample every n-th is centred.
        foreground_share: of the samples that are centred on objects, 0..1.
        seed: of every draw.
        augment: called with (image, mask, size, generator); gives tensors of that size.
        memory: bytes of volumes that may be held in memory.
    """

    def __init__(
        self,
        volumes: Sequence[PreparedVolume],
        size: Extent,
        context: Extent,
        batch_size: int,
        foreground_share: float,
        seed: int,
        augment: Callable[..., tuple[Tensor, Tensor]],
        memory: int = MEMORY,
    ) -> None:
        is_small = sum(array.nbytes for each in volumes for array in each) <= memory
        self.volumes = [PreparedVolume(*map(np.array, each)) if is_small else each for each in volumes]
        self.firsts = [np.flatnonzero(np.diff(each.places[:, 0], prepend=0)) for each in self.volumes]
        self.size = size
        self.drawn = tuple(side + 2 * more for side, more in zip(size, context, strict=True))
        self.context = context
        self.period, self.centred = centred_of(batch_size, foreground_share)
        self.seed = seed
        self.augment = augment

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Return {"image": float32 (C, *size), "mask": class numbers, int64 (*size)}."""
        generator = np.random.default_rng([self.seed, number])
        case = self._case(number)
        volume = self.volumes[case]
        start = self._start(case, number % self.period >= self.period - self.centred, generator)
        image, mask = (cut(each, start, self.drawn) for each in (volume.image, volume.labels))
        image, mask = self.augment(image, mask, self.size, generator)
        return {"image": image, "mask": mask}

    def _case(self, number: int) -> int:
        turn, place = divmod(number, len(self.volumes))
        return int(np.random.default_rng([self.seed, turn, ORDER]).permutation(len(self.volumes))[place])

    def _start(self, case: int, is_centred: bool, generator: np.random.Generator) -> list[int]:
        """Return the first voxel of what is drawn; before or behind the case where it is smaller."""
        spare = np.subtract(self.volumes[case].labels.shape, self.size)
        low, high = np.minimum(spare, 0), np.maximum(spare, 0)
        if is_centred and len(self.firsts[case]):
            start = self._object(case, generator) - np.array(self.size) // 2
        else:
            start = generator.integers(low, high, endpoint=True)
        return (start.clip(low, high) - self.context).tolist()

    def _object(self, case: int, generator: np.random.Generator) -> np.ndarray:
        """Return a voxel of one of a case's classes, both drawn at random."""
        places, firsts = self.volumes[case].places, self.firsts[case]
        chosen = int(generator.integers(len(firsts)))
        stop = firsts[chosen + 1] if chosen + 1 < len(firsts) else len(places)
        return np.array(places[generator.integers(firsts[chosen], stop), 1:])


def centred_of(batch_size: int, share: float) -> tuple[int, int]:
    """Return (samples, how many of them are centred on objects): of a batch, or of as many batches of one as suit."""
    period = batch_size if batch_size > 1 or not share else max(1, math.floor(1 / share))
    return period, math.ceil(period * share - 1e-9)


def cut(array: np.ndarray, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """Return a part of an array's last three axes, mirrored beyond its border, or its edge where that is too short."""
    windows, pads = [], [(0, 0)] * (array.ndim - 3)
    for first, side, length in zip(start, size, array.shape[-3:], strict=True):
        windows.append(slice(max(first, 0), min(first + side, length)))
        pads.append((max(-first, 0), max(first + side - length, 0)))
    part: Any = np.array(array[..., *windows])
    for axis, pad in enumerate(pads):
        if any(pad):
            mode = "reflect" if max(pad) < part.shape[axis] else "edge"
            part = np.pad(part, [pad if each == axis else (0, 0) for each in range(part.ndim)], mode)
    return part
