"""Pictures for people: the outlines of the classes that were found over an image, or over some slices of a volume."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...core.errors import UserError
from ...core.inference.streams import Source
from ...core.outlines import outlined_classes
from ...core.weights.card import Card
from .image import ImageSource, write_image
from .image.samples import quantised
from .sink import SpooledSink

LARGEST = 2400  # pixels along a side of a picture, about
SMALLEST = 320  # pixels along the longer side of a slice that is shown
MOST_SLICES = 16
GAP = 4  # pixels between slices
BAND = 64  # rows of a picture read at a time
PERCENTILES = (0.5, 99.5)


class OverlaySink(SpooledSink):
    """A PNG with the outline of each class in its colour, over the image or over a sheet of slices of the volume.

    The slices are those along the card's axis, at most 16, evenly spread over those in which something was found, the
    first at the upper left. They are turned as is usual: the patient's right is on the left, the front above or on the
    left, the head above; their pixels are square. Colours are those of image files; all else is shown from its
    0.5th to its 99.5th percentile. Of what is larger than 2400 pixels, every second, third ... is shown.

    Args:
        path: the file.
        source: the image or volume, still open when the picture is made.
        card: of the program, which gives labels.
        fingerprint: tells the same work again; "" never goes on from an earlier run.

    Raises:
        UserError: the program enlarges, or the disk has no room.
    """

    def __init__(self, path: Path, source: Source, card: Card, fingerprint: str = "") -> None:
        if card.scale != 1:
            raise UserError(f"{path}: outlines cannot be drawn over what is enlarged; leave out --overlay.")
        self.source = source
        self.card = card
        channels = 1 if card.activation == "argmax" else len(card.outputs or card.channels)
        wide = max([len(card.outputs), *(label.value for label in card.labels)]) > np.iinfo(np.uint8).max
        shape = (channels, *source.shape[-source.spatial :])
        super().__init__(path, shape, np.dtype(np.uint16 if wide else np.uint8), source.geometry, fingerprint)

    def converted(
        self, values: np.ndarray | None, aside: np.ndarray | None, window: tuple[slice, ...]
    ) -> np.ndarray | None:
        """Return the labels of a window as they are."""
        return values

    def encode(self, part: Path) -> None:
        """Draw the picture."""
        picture = self._sheet() if self.source.spatial == 3 else self._image()
        write_image(part, np.moveaxis(picture, -1, 0))

    def _image(self) -> np.ndarray:
        """Return the image with its outlines, (H, W, 3)."""
        height, width = self.spool.shape[1:]
        step = -(-max(height, width) // LARGEST)
        values, labels = [], []
        for top in range(0, height, BAND * step):
            window = (slice(top, min(top + BAND * step, height)), slice(0, width))
            values.append(self.source.read(window)[:, ::step, ::step])
            labels.append(self.spool.read(window)[:, ::step, ::step])
        return outlined_classes(self._shown(np.concatenate(values, 1)), np.concatenate(labels, 1), self.card)

    def _sheet(self) -> np.ndarray:
        """Return slices with their outlines side by side, (H, W, 3)."""
        chosen = self._chosen()
        columns = math.ceil(math.sqrt(len(chosen)))
        pictures = [self._slice(number) for number in chosen]
        height, width = pictures[0].shape[:2]
        rows = -(-len(chosen) // columns)
        sheet = np.zeros((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), np.uint8)
        for number, picture in enumerate(pictures):
            top, left = (number // columns) * (height + GAP), (number % columns) * (width + GAP)
            sheet[top : top + height, left : left + width] = picture
        return sheet

    def _chosen(self) -> list[int]:
        """Return which slices are shown."""
        numbers = range(self.spool.shape[1 + self._axis])
        found = [number for number in numbers if self.spool.read(self._window(number)).any()] or list(numbers)
        return [found[round(at)] for at in np.linspace(0, len(found) - 1, min(MOST_SLICES, len(found)))]

    def _slice(self, number: int) -> np.ndarray:
        """Return a slice with its outlines, (h, w, 3), its pixels square."""
        window, axis = self._window(number), 1 + self._axis
        values, labels = self.source.read(window).squeeze(axis), self.spool.read(window).squeeze(axis)
        spacing = getattr(self.geometry, "spacing_mm", (1.0,) * 3)
        steps = [step for place, step in enumerate(spacing) if place != self._axis]
        extents = [size * step for size, step in zip(labels.shape[1:], steps, strict=True)]
        longest = min(max(SMALLEST, *(extent / min(steps) for extent in extents)), LARGEST / math.sqrt(MOST_SLICES))
        size = [max(1, round(extent * longest / max(extents))) for extent in extents]
        shown = torch.from_numpy(self._shown(values)).permute(2, 0, 1)[None].float()
        shown = F.interpolate(shown, size, mode="bilinear", antialias=True)[0].round().byte().permute(1, 2, 0)
        nearest = F.interpolate(torch.from_numpy(labels.astype(np.float32))[None], size, mode="nearest-exact")[0]
        return self._turned(outlined_classes(shown.numpy(), nearest.numpy().astype(labels.dtype), self.card))

    def _turned(self, picture: np.ndarray) -> np.ndarray:
        """Turn a slice (h, w, 3) so that its axes go from right to left, front to back, head to foot."""
        affine = getattr(self.geometry, "affine", None)
        if affine is None:
            return picture
        # The affine's columns are those of (W, H, D), its rows lead to the right, the front, the head.
        rows, columns = (affine[:3, 2 - place] for place in range(3) if place != self._axis)
        towards = [int(np.abs(each).argmax()) for each in (rows, columns)]
        signs = [each[main] for each, main in zip((rows, columns), towards, strict=True)]
        picture = picture[:: -1 if signs[0] > 0 else 1, :: -1 if signs[1] > 0 else 1]
        return picture if towards[0] >= towards[1] else picture.transpose(1, 0, 2)

    @property
    def _axis(self) -> int:
        """Position of the axis of slices among (D, H, W)."""
        return 2 - self.card.axis if self.card.dimensions == 2 else 0

    def _window(self, number: int) -> tuple[slice, ...]:
        window = [slice(0, size) for size in self.spool.shape[1:]]
        window[self._axis] = slice(number, number + 1)
        return tuple(window)

    def _shown(self, values: np.ndarray) -> np.ndarray:
        """Return values as colours, uint8 (h, w, 3)."""
        low, high = np.percentile(values, PERCENTILES)
        if isinstance(self.source, ImageSource):
            low, high = self.source.value_range
        colours = values if len(values) == 3 else values[:1].repeat(3, axis=0)
        return np.moveaxis(quantised(colours, (low, max(high, low + 1e-8)), np.dtype(np.uint8)), 0, -1)
