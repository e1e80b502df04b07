"""The values and the clouds of scenes, decoded once.

Arrays are (B, H, W), bands first; clouds (1, H, W).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...core.blocks.resampling import bicubic_resize
from ...core.errors import UserError
from ...core.inference.windows import whole
from ..io.geotiff import SUFFIXES
from ..io.geotiff.raster import Raster
from ..io.geotiff.units import read_as_reflectance
from ..io.image import read_image
from .cache import PixelCache, identity, recipe_of
from .cloud_masks import clouds_in
from .scene_series import CHANNELS, SceneImage

FindClouds = Callable[[Tensor], Tensor]
"""Tells clouds by the values, float32 (B, H, W) -> bool (1, H, W)."""


class SceneFiles:
    """Opens scenes; what was decoded is kept on disk as float32, four bytes for each pixel and band.

    Args:
        cache: where it is kept.
        find_clouds: tells clouds where a GeoTIFF has no mask; None leaves them unknown.
    """

    def __init__(self, cache: PixelCache, find_clouds: FindClouds | None = None) -> None:
        self.cache = cache
        self.find_clouds = find_clouds
        self.rule = inspect.getsource(inspect.getmodule(find_clouds)) if find_clouds else ""  # which may change

    def values(self, image: SceneImage) -> np.ndarray:
        """Return the values of an image, float32 (B, H, W); NaN in all where any band does not count.

        Raises:
            UserError: a file cannot be read.
        """
        recipe = f"values-{recipe_of(image.reading, *map(identity, image.files[1:]))}"
        return self.cache.get(image.files[0], recipe, lambda: _values(image))

    def clouds(self, image: SceneImage) -> np.ndarray:
        """Return float32 (1, H, W): 1 on cloud and where nothing counts, 0 where it is clear, NaN where not known.

        Raises:
            UserError: a file cannot be read, or the mask has another size, or is none.
        """
        return self.cache.get(image.files[0], f"clouds-{self._told_by(image)}", lambda: self._clouds(image))

    def cover(self, image: SceneImage) -> float:
        """Return the share of an image's counting pixels that is cloud, 0..1; NaN where clouds are not known.

        Raises:
            UserError: as `clouds`.
        """
        return float(self.cache.get(image.files[0], f"cover-{self._told_by(image)}", lambda: self._cover(image)))

    def _told_by(self, image: SceneImage) -> str:
        """Return what another mask, or another rule, does not have."""
        return recipe_of(image.reading, image.is_clear or (identity(image.mask) if image.mask else self.rule))

    def _clouds(self, image: SceneImage) -> np.ndarray:
        values = self.values(image)
        return np.where(np.isnan(values[:1]), 1, self._seen(image, values)).astype(np.float32)

    def _seen(self, image: SceneImage, values: np.ndarray) -> np.ndarray | float:
        """Return where there is cloud, as far as that is known."""
        if image.is_clear:
            return 0.0
        if image.mask is not None:
            return _mask(image.mask, image.files[0], values.shape[1:])
        if self.find_clouds is None or not _is_raster(image) or len(values) != len(CHANNELS):
            return np.nan
        return self.find_clouds(torch.from_numpy(np.nan_to_num(values))).numpy()

    def _cover(self, image: SceneImage) -> np.ndarray:
        counts = ~np.isnan(self.values(image)[0])
        return np.array(self.clouds(image)[0][counts].mean() if counts.any() else 1.0)


def _values(image: SceneImage) -> np.ndarray:
    values = _reflectance(image) if _is_raster(image) else _pictures(image.files)
    side, (height, width) = image.reading.side, values.shape[1:]
    if side and height != width:
        raise UserError(f"{image.files[0]}: is {width}x{height} pixels; only squares are resized to {side}x{side}.")
    if side and height != side:
        values = bicubic_resize(torch.from_numpy(values), Fraction(side, height)).clamp(0, 1).numpy()
    return values


def _is_raster(image: SceneImage) -> bool:
    return image.files[0].suffix.lower() in SUFFIXES


def _reflectance(image: SceneImage) -> np.ndarray:
    path, reading = image.files[0], image.reading
    with closing(Raster(path, reading.bands, channels=() if reading.bands else CHANNELS)) as raster:
        read_as_reflectance([raster], [image.day] if image.day else (), reading.quantification, reading.offset)
        values, valid = raster.values(whole(raster.geometry.shape))
    return values if valid is None else np.where(valid.all(axis=0), values, np.float32(np.nan))


def _mask(path: Path, of: Path, size: tuple[int, ...]) -> np.ndarray:
    """Return where the mask of an image has cloud, or does not tell, bool (1, H, W)."""
    with closing(Raster(path, [1])) as raster:
        if raster.geometry.shape != size:
            height, width = raster.geometry.shape
            raise UserError(
                f"{path}: is {width}x{height}, its image {of.name} is {size[1]}x{size[0]}; a mask has the size of its "
                "image."
            )
        return clouds_in(raster, whole(raster.geometry.shape))[None]


def _pictures(files: tuple[Path, ...]) -> np.ndarray:
    """Return a colour picture, and the first channel of those after it, in 0..1."""
    pictures = [read_image(file) for file in files]
    bands = [pictures[0], *(each[:1] for each in pictures[1:])]
    for file, band in zip(files, bands, strict=True):
        if band.shape[1:] != bands[0].shape[1:]:
            raise UserError(f"{file}: has another size than {files[0].name}; both show one date.")
    return np.concatenate([each.astype(np.float32) / np.iinfo(each.dtype).max for each in bands])
