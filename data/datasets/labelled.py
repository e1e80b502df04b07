"""Images with one class each: where they are, and the samples that training and evaluation take.

Arrays are (C, S, S), S the side in pixels; tensors are float32 in 0..1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch.utils.data import Dataset

from ..every_case import every_case
from ..unit_image import fit, read_unit_image, to_tensor
from .cache import PixelCache


@dataclass(frozen=True)
class LabelledImage:
    """One image and its class.

    Attributes:
        name: what reports call it.
        label: name of its class.
        path: the file that holds it.
        patient: whose image it is; "" where that is not known, and every image is taken for a patient's only one.
        pixels: the image itself, uint8 (C, H, W), where the file holds many; None to read the file.
    """

    name: str
    label: str
    path: Path
    patient: str = ""
    pixels: np.ndarray | None = None

    @property
    def person(self) -> str:
        """The patient, or the image where the patient is not known."""
        return self.patient or f"image {self.name}"


class LabelledSource(Protocol):
    """A dataset layout: it lists its images and their classes.

    Attributes:
        licence: terms of the images.
        classes: names of the classes in their order; () where the layout does not fix it.
    """

    licence: str
    classes: tuple[str, ...]

    def images(self) -> list[LabelledImage]:
        """Return the images in a fixed order; raises UserError where there are none."""
        ...


class LabelledPixels:
    """Opens images at the size and channels of a network.

    Args:
        images: what to open.
        classes: names of the classes; an image's class is its label's place among them.
        size: side of the network's image, pixels.
        channels: 1 for grey, 3 for colour.
        cache: where images of that size are kept.
    """

    def __init__(
        self, images: Sequence[LabelledImage], classes: Sequence[str], size: int, channels: int, cache: PixelCache
    ) -> None:
        self.images = list(images)
        self.labels = [classes.index(image.label) for image in images]
        self.size = size
        self.channels = channels
        self.cache = cache

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return an image, uint8 (C, S, S).

        Raises:
            UserError: it cannot be read.
        """
        image = self.images[index]
        if image.pixels is not None:
            return fit(image.pixels.astype(np.float32) / np.iinfo(image.pixels.dtype).max, self.size, self.channels)
        recipe = f"unit-{self.size}-{self.channels}"
        return self.cache.get(image.path, recipe, lambda: fit(read_unit_image(image.path), self.size, self.channels))

    def read_all(self, rank: int, world: int, workers: int) -> None:
        """Read this process's share of the images into the cache, so that what is wrong with one shows at once.

        Raises:
            UserError: an image cannot be read; says how many and which is the first.
        """
        every_case(range(rank, len(self), world), self._read, workers, "images")

    def _read(self, index: int) -> None:
        self[index]  # which is not returned, as thousands of files would stay open


class TrainingImages(Dataset[dict[str, Any]]):
    """Augmented images; sample number n is a pure function of (seed, n).

    Args:
        pixels: the images.
        seed: seed of every draw.
        augment: called with (image, generator) on a uint8 array (C, S, S).
        with_original: give the image before augmentation beside it.
    """

    def __init__(
        self, pixels: LabelledPixels, seed: int, augment: Callable[..., np.ndarray], with_original: bool = False
    ) -> None:
        self.pixels = pixels
        self.seed = seed
        self.augment = augment
        self.with_original = with_original

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Return {"image", "label"}, and "original" where wanted; images are float32 in 0..1, (C, S, S)."""
        index = number % len(self.pixels)
        image = self.pixels[index]
        changed = self.augment(image, np.random.default_rng([self.seed, number]))
        sample = {"image": to_tensor(changed), "label": self.pixels.labels[index]}
        return sample | ({"original": to_tensor(image)} if self.with_original else {})


class WholeImages(Dataset[dict[str, Any]]):
    """Images for evaluation, of one or several named sets.

    Args:
        sets: {set name: images}.
    """

    def __init__(self, sets: dict[str, LabelledPixels]) -> None:
        self.cases = [(name, pixels, index) for name, pixels in sets.items() for index in range(len(pixels))]

    def __len__(self) -> int:
        """Return the number of images in all sets."""
        return len(self.cases)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Return {"set", "name", "patient", "image", "label"}; the image is float32 in 0..1, (C, S, S)."""
        name, pixels, index = self.cases[number]
        image = pixels.images[index]
        facts = {"set": name, "name": image.name, "patient": image.person}
        return facts | {"image": to_tensor(pixels[index]), "label": pixels.labels[index]}
