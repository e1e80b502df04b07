"""Reading an image and its mask, holding them against each other, and bringing them to a size.

Arrays are (S, C, h, w) and (S, h, w): slices, channels, rows, columns; a file of one image has one slice.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch.nn.functional as F

from ...core.errors import UserError
from ...core.inference.intensity import with_intensity
from ...core.inference.windows import whole
from ..geometry import VolumeGeometry
from ..io.formats import Kind, kind_of, open_source
from ..io.image import read_image
from ..unit_image import to_tensor
from .mask_values import class_numbers, object_shares, one_channel, whole_numbers
from .masked_images import intensity_card

if TYPE_CHECKING:
    from .masked_files import MaskedFile

Size = tuple[int, int]
"""(rows, columns)"""


class Slices(NamedTuple):
    """A file's samples.

    Attributes:
        values: (S, C, h, w); of images uint8 or uint16 over the range of the type, of masks as stored.
        geometry: of the whole file.
    """

    values: np.ndarray
    geometry: Any


class Decoded:
    """The samples of an image file and of its mask, each decoded at most once."""

    def __init__(self, file: MaskedFile) -> None:
        self.file = file

    @cached_property
    def image(self) -> Slices:
        """The images, uint8 or uint16."""
        file = self.file
        kind = kind_of(file.image, ("image", "dicom", "nifti"))
        if kind == "image" and not file.intensity:
            slices = Slices(read_image(file.image)[None], None)
        else:
            slices = _read_slices(file.image, kind, file.axis, file.intensity)
            self._check_range(slices, kind)
            slices = _in_sixteen_bits(slices)
        channels = slices.values.shape[1]
        if channels != file.channels and not (channels == 1 and kind == "image"):
            raise UserError(f"{file.image}: has {channels} channels; the network takes {file.channels}.")
        return slices

    @cached_property
    def mask(self) -> Slices:
        """The masks as stored, int32, one channel."""
        file = self.file
        kind = kind_of(file.mask, ("image", "dicom", "nifti"))
        if kind == "image":
            picture = _palette_numbers(file.mask) if file.code.values is None else None
            picture = read_image(file.mask) if picture is None else picture
            return Slices(one_channel(picture, file.mask).astype(np.int32)[None, None], None)
        slices = _read_slices(file.mask, kind, file.axis)
        if slices.values.shape[1] != 1:
            raise UserError(f"{file.mask}: has {slices.values.shape[1]} channels; a mask has one.")
        return slices._replace(values=whole_numbers(slices.values, file.mask))

    @cached_property
    def classes(self) -> np.ndarray:
        """Class numbers (S, h, w)."""
        return class_numbers(self.mask.values[:, 0], self.file.code, self.file.mask)

    def counts(self) -> np.ndarray:
        """Return the pixels of each class, int64 (S, classes), of files that fit each other."""
        self._check_fit()
        classes = self.file.code.classes
        return np.stack([np.bincount(each.ravel(), minlength=classes) for each in self.classes])

    def numbers(self) -> np.ndarray:
        """Return the shape (S, C, h, w), and the millimetres between rows, columns and slices, 0 where not known."""
        geometry, axis = self.image.geometry, self.file.axis
        row = column = step = 0.0
        if isinstance(geometry, VolumeGeometry):
            spacing = list(geometry.spacing_mm)
            step = spacing.pop(0 if axis is None else 2 - axis)
            row, column = spacing
        step = step if axis is not None else 0.0
        return np.array([*self.image.values.shape, row, column, step], dtype=np.float64)

    def training_masks(self, size: Size | None) -> np.ndarray:
        """Return class numbers or, where masks are soft, uint8 of which 255 is the object."""
        if not self.file.code.is_soft:
            return self.classes if size is None else nearest(self.classes, size)
        shares = object_shares(self.mask.values, self.file.code, self.file.mask)
        return resized((shares * 65535).round().astype(np.uint16), size)[:, 0]

    def _check_range(self, slices: Slices, kind: Kind) -> None:
        is_coloured = kind != "nifti" and slices.values.shape[1] == 3  # in 0..1 already
        if not (self.file.intensity or is_coloured):
            raise UserError(
                f"{self.file.image}: its values have units. Say how they become 0..1 by `intensity` of the data and of "
                "the model alike, such as {percentiles: [1, 99]}."
            )

    def _check_fit(self) -> None:
        image, mask = self.image, self.mask
        sizes = [each.values.shape[:1] * (self.file.axis is not None) + each.values.shape[2:] for each in (image, mask)]
        where = f"{self.file.mask}: does not fit its image {self.file.image.name}"
        if sizes[0] != sizes[1]:
            raise UserError(
                f"{where}: {_times(sizes[1])} pixels against {_times(sizes[0])}. Give the mask of this image, or "
                "resize it by the nearest pixel."
            )
        both_placed = isinstance(image.geometry, VolumeGeometry) and isinstance(mask.geometry, VolumeGeometry)
        if both_placed and (difference := image.geometry.difference(mask.geometry)):
            raise UserError(f"{where}: {difference}. Bring it onto the image's grid, or correct its header.")


def resized(images: np.ndarray, size: Size | None) -> np.ndarray:
    """Return images (S, C, h, w) as uint8 of another size, as the engine resizes what a network sees as a whole."""
    if size is None and images.dtype == np.uint8:
        return images
    x = to_tensor(images)
    if size is not None and x.shape[-2:] != size:
        x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
    return (x * 255).round().clamp(0, 255).byte().numpy()


def nearest(masks: np.ndarray, size: Size) -> np.ndarray:
    """Return masks (S, h, w) of another size, each pixel that whose centre is nearest."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, masks.shape[-2:], strict=True)
    )
    return masks[..., rows[:, None], columns]


def _read_slices(path: Path, kind: Kind, axis: int | None, intensity: dict[str, Any] | None = None) -> Slices:
    """Return the samples of a file, float32 (S, C, h, w); in 0..1 where `intensity` is given."""
    with open_source(path, kind) as source:
        if (source.spatial == 3) != (axis is not None):
            found = "several slices" if source.spatial == 3 else "a single slice"
            raise UserError(f"{path}: holds {found}; volumes are for VolumeSlices, images one a file for ImageMasks.")
        scaled = with_intensity(source, intensity_card(intensity)) if intensity else source
        values = scaled.read(whole(source.shape[-source.spatial :]))
        # (C, D, H, W) are (t, k, j, i) of the file.
        return Slices(values[None] if axis is None else np.moveaxis(values, 3 - axis, 0), source.geometry)


def _in_sixteen_bits(slices: Slices) -> Slices:
    """Return values of 0..1 as uint16: a half of the memory of float32, and steps far below any noise."""
    return slices._replace(values=(slices.values.clip(0, 1) * 65535).round().astype(np.uint16))


def _palette_numbers(path: Path) -> np.ndarray | None:
    """Return the entries (1, h, w) of a PNG with a palette, which are its classes; None for any other file."""
    from PIL.PngImagePlugin import PngImageFile

    try:
        with PngImageFile(path) as picture:
            return np.asarray(picture)[None] if picture.mode == "P" else None
    except (OSError, SyntaxError, ValueError):
        return None  # no PNG, or a damaged one, of which `read_image` tells what is wrong


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, reversed(sizes)))
