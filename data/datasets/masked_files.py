"""Files of images with masks: what is made of their pixels, and kept.

Arrays are (S, C, h, w) and (S, h, w): slices, channels, rows, columns; a file of one image has one slice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core.errors import UserError
from .cache import PixelCache, identity, recipe_of
from .mask_decoding import Decoded, Size, resized
from .mask_values import MaskCode


class Facts(NamedTuple):
    """The size of a file's slices and where their pixels lie.

    Attributes:
        shape: (S, C, h, w).
        spacing: millimetres between (rows, columns); None where the file does not tell.
        step: millimetres between slices; None where there is one, or the file does not tell.
    """

    shape: tuple[int, int, int, int]
    spacing: tuple[float, float] | None
    step: float | None


class MaskedFile:
    """A file of images and that of their masks; all that is made of them is kept in a cache.

    Args:
        image: file of the image or volume.
        mask: file of its mask.
        axis: of a volume, the axis of its file along which slices are counted.
        channels: of the network; a grey picture serves for any number.
        code: how masks are written.
        intensity: how values become 0..1; None for images.
        cache: where arrays are kept.
    """

    def __init__(
        self,
        image: Path,
        mask: Path,
        axis: int | None,
        channels: int,
        code: MaskCode,
        intensity: dict[str, Any] | None,
        cache: PixelCache,
    ) -> None:
        self.image = image
        self.mask = mask
        self.axis = axis
        self.channels = channels
        self.code = code
        self.intensity = intensity
        self.cache = cache

    def counts(self, decoded: Decoded | None = None) -> np.ndarray:
        """Return the pixels of each class, int64 (S, classes); everything about the two files is checked first.

        Args:
            decoded: the decoded files, where they are at hand.

        Raises:
            UserError: a file is missing, damaged or of the wrong kind, the two do not fit each other, or the mask holds
                other values than those of the classes.
        """
        details = (self._seen(), self.code, identity(_existing(self.image)))
        return self._kept(self.mask, "classes", details, lambda: (decoded or Decoded(self)).counts())

    def facts(self, decoded: Decoded | None = None) -> Facts:
        """Return size and spacing."""
        numbers = self._kept(self.image, "facts", self._seen(), lambda: (decoded or Decoded(self)).numbers())
        *shape, row, column, step = numbers.tolist()
        spacing = (row, column) if row > 0 else None
        return Facts(tuple(map(int, shape)), spacing, step if step > 0 else None)

    def training(self, size: Size | None, decoded: Decoded | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return images, uint8 (S, C, *size), and masks, uint8 or uint16 (S, *size).

        Images are resized bilinearly, smoothed before they get smaller; class numbers by the nearest pixel; soft masks
        like images, with 255 for the object.

        Args:
            size: of the result; None leaves it as it is.
            decoded: as in `counts`.
        """
        name = "bytes" if size is None else f"{size[0]}x{size[1]}"
        images = self._kept(
            self.image, name, self._seen(), lambda: resized((decoded or Decoded(self)).image.values, size)
        )
        details = (self.axis, self.code)
        return images, self._kept(
            self.mask, f"mask-{name}", details, lambda: (decoded or Decoded(self)).training_masks(size)
        )

    def whole(self, decoded: Decoded | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return images, uint8 or uint16 (S, C, h, w), and class numbers (S, h, w), as large as they are."""
        images = self._kept(self.image, "pixels", self._seen(), lambda: (decoded or Decoded(self)).image.values)
        return images, self._kept(self.mask, "mask", (self.axis, self.code), lambda: (decoded or Decoded(self)).classes)

    def _seen(self) -> tuple[Any, ...]:
        """Return what beside the file of the image decides over its pixels."""
        return self.axis, self.intensity, self.channels

    def _kept(self, path: Path, name: str, details: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        return self.cache.get(_existing(path), f"{name}-{recipe_of(details)}", make)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file.")
    return path
