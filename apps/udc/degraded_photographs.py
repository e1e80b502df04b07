"""Pairs made of clean photographs: each beside what a display makes of it. Arrays are (C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...core.errors import UserError
from ...data.datasets.cache import PixelCache, user_cache
from ...data.datasets.pairs import Pair
from ...data.io.image import read_image
from ...data.unit_image import to_tensor
from .physics import UnderDisplay

WHOLE = 1  # keeps the noise of whole photographs apart from that of crops


class DegradedPhotographs(Dataset[tuple[Tensor, Tensor]]):
    """Random crops of photographs with what a display makes of them; crop number n is a function of (seed, n) alone.

    The light of a whole photograph is spread once and kept, so that a crop is degraded as the part that it is: what
    lies beside it shines into it. The noise is drawn anew for each crop.

    Args:
        photographs: where they are; grey ones are repeated to three channels.
        model: what the display and the camera do.
        patch: side of a crop in pixels.
        seed: of every draw.
        cache: where decoded and spread photographs are kept; None means the user's cache folder.
    """

    def __init__(
        self,
        photographs: Sequence[Pair],
        model: UnderDisplay,
        patch: int = 128,
        seed: int = 0,
        cache: Path | None = None,
    ) -> None:
        self.photographs = list(photographs)
        self.model = model
        self.patch = patch
        self.seed = seed
        self.cache = PixelCache(cache or user_cache() / "udc")

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.photographs)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Return (clean, degraded), float32 in 0..1, (3, patch, patch) each.

        Raises:
            UserError: the photograph cannot be read, or is smaller than a crop.
        """
        generator = np.random.default_rng([self.seed, number])
        clean, exposed = self._opened(number % len(self))
        if min(clean.shape[1:]) < self.patch:
            path = self.photographs[number % len(self)].high
            raise UserError(f"{path}: is smaller than a crop of {self.patch} pixels; use a smaller `patch`.")
        top, left = (int(generator.integers(size - self.patch + 1)) for size in clean.shape[1:])
        window = (slice(None), slice(top, top + self.patch), slice(left, left + self.patch))
        return to_tensor(clean[window]), torch.from_numpy(self.model.recorded(exposed[window], generator))

    def whole(self, index: int) -> tuple[Tensor, Tensor]:
        """Return (clean, degraded) of a whole photograph, float32 in 0..1, (3, H, W) each; always the same."""
        clean, exposed = self._opened(index)
        generator = np.random.default_rng([self.seed, index, WHOLE])
        return to_tensor(clean), torch.from_numpy(self.model.recorded(exposed, generator))

    def _opened(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels of a photograph and the electrons that they become."""
        path = self.photographs[index].high
        clean = self.cache.get(path, "pixels-3", lambda: _colour(path))
        recipe = f"exposed-{self.model.digest}"
        return clean, self.cache.get(path, recipe, lambda: self.model.exposed(to_tensor(clean).numpy()))


def _colour(path: Path) -> np.ndarray:
    image = read_image(path)
    return np.repeat(image, 3, axis=0) if len(image) == 1 else image
