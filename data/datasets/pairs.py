"""Pairs of a low- and a high-resolution image: where they are, random patches for training, whole images for tests.

Arrays are (C, H, W); tensors are float32 in 0..1; H W are low-resolution pixels and s is the scale.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...core.blocks.resampling import bicubic_resize
from ...core.errors import UserError
from ..io.image import read_image
from ..unit_image import to_tensor
from .cache import PixelCache


@dataclass(frozen=True)
class Pair:
    """One high-resolution image and, where it exists as a file, its low-resolution side.

    Attributes:
        name: what reports call it.
        high: the high-resolution file.
        low: the low-resolution file, or None to make it by bicubic reduction.
    """

    name: str
    high: Path
    low: Path | None = None


class PairSource(Protocol):
    """A dataset layout: it lists its pairs for a scale, and tells the terms of its images."""

    licence: str

    def pairs(self, scale: int) -> list[Pair]:
        """Return the pairs in a fixed order; raises UserError where there are none."""
        ...


class PairImages:
    """Opens pairs as colour arrays of one size ratio.

    Args:
        pairs: what to open.
        scale: high-resolution pixels per low-resolution pixel along each axis.
        channels: 3 for RGB (grey is repeated), 1 for grey (colour is refused).
        cache: where decoded images are kept.
    """

    def __init__(self, pairs: Sequence[Pair], scale: int, channels: int, cache: PixelCache) -> None:
        self.pairs = list(pairs)
        self.scale = scale
        self.channels = channels
        self.cache = cache

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (low, high), integer arrays (C, H, W) and (C, sH, sW).

        Raises:
            UserError: an image cannot be read, or the two sizes do not fit the scale.
        """
        pair = self.pairs[index]
        high = self._open(pair.high)
        if pair.low is None:
            low = self.cache.get(pair.high, f"bicubic-x{self.scale}-{self.channels}", lambda: self._reduce(high))
        else:
            low = self._open(pair.low)
        return low, self._cropped(high, low, pair)

    def _open(self, path: Path) -> np.ndarray:
        return self.cache.get(path, f"pixels-{self.channels}", lambda: self._read(path))

    def _read(self, path: Path) -> np.ndarray:
        image = read_image(path)
        if image.shape[0] == self.channels:
            return image
        if image.shape[0] == 1:
            return np.repeat(image, self.channels, axis=0)
        raise UserError(f"{path} has {image.shape[0]} channels; the network takes {self.channels}.")

    def _reduce(self, high: np.ndarray) -> np.ndarray:
        height, width = (size - size % self.scale for size in high.shape[1:])
        pixels = torch.from_numpy(high[:, :height, :width].astype(np.float32))
        low = bicubic_resize(pixels, Fraction(1, self.scale))
        return low.clamp(0, np.iinfo(high.dtype).max).round().numpy().astype(high.dtype)

    def _cropped(self, high: np.ndarray, low: np.ndarray, pair: Pair) -> np.ndarray:
        height, width = (size * self.scale for size in low.shape[1:])
        spare = (high.shape[1] - height, high.shape[2] - width)
        if not all(0 <= pixels < self.scale for pixels in spare):
            raise UserError(
                f"{pair.high} is {high.shape[2]}x{high.shape[1]} and {pair.low} is {low.shape[2]}x{low.shape[1]}: "
                f"not a pair at x{self.scale}. Check the folders and the network's scale."
            )
        return high[:, :height, :width]


class PatchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Random aligned patches; sample number n is a pure function of (seed, n).

    Args:
        images: the pairs.
        patch: side of the low-resolution patch, pixels.
        seed: seed of every draw.
        augment: called with (low, high, generator) on (C, H, W) arrays; gives both back, changed alike.
    """

    def __init__(self, images: PairImages, patch: int, seed: int, augment: Callable[..., Any]) -> None:
        self.images = images
        self.patch = patch
        self.seed = seed
        self.augment = augment

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Return (low, high), float32 in 0..1: (C, patch, patch) and (C, s patch, s patch)."""
        generator = np.random.default_rng([self.seed, number])
        index = number % len(self.images)
        low, high = self.images[index]
        side, scale = self.patch, self.images.scale
        if min(low.shape[1:]) < side:
            raise UserError(
                f"{self.images.pairs[index].high} is smaller than a training patch "
                f"({side * scale} pixels); use a smaller `patch` or larger images."
            )
        top, left = (int(generator.integers(size - side + 1)) for size in low.shape[1:])
        low = low[:, top : top + side, left : left + side]
        high = high[:, top * scale : (top + side) * scale, left * scale : (left + side) * scale]
        low, high = self.augment(low, high, generator)
        return to_tensor(low), to_tensor(high)


class WholeDataset(Dataset[dict[str, Any]]):
    """Whole pairs for evaluation, of one or several named sets.

    Args:
        sets: {set name: pairs}.
    """

    def __init__(self, sets: dict[str, PairImages]) -> None:
        self.cases = [(name, images, index) for name, images in sets.items() for index in range(len(images))]

    def __len__(self) -> int:
        """Return the number of pairs in all sets."""
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return {"set", "name", "low", "high"}; the images are float32 in 0..1, (C, H, W) and (C, sH, sW)."""
        name, images, inner = self.cases[index]
        low, high = images[inner]
        return {"set": name, "name": images.pairs[inner].name, "low": to_tensor(low), "high": to_tensor(high)}
