"""What the samples of an image file mean: from bands of any kind to grey or RGB, with or without alpha.

Arrays are (C, h, w). Samples are stretched to the full range of uint8 or uint16.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import rasterio

CHANNELS = {
    ("gray",): 1,
    ("gray", "alpha"): 2,
    ("red", "green", "blue"): 3,
    ("red", "green", "blue", "alpha"): 4,
    # What programs write that keep arrays and know nothing of colour.
    ("gray", "undefined", "undefined"): 3,
    ("gray", "undefined", "undefined", "alpha"): 4,
}
"""Channels of an image by what GDAL calls the bands of its file."""

Convert = Callable[[np.ndarray], np.ndarray]


def names_of(dataset: rasterio.DatasetReader) -> tuple[str, ...]:
    """Return what GDAL calls the bands."""
    return tuple(each.name for each in dataset.colorinterp)


def is_image(dataset: rasterio.DatasetReader) -> bool:
    """Tell whether the bands are those of an image, and not of a raster of other numbers."""
    has_colours = names_of(dataset) in CHANNELS or names_of(dataset) == ("palette",)
    return has_colours and dataset.dtypes[0] in ("uint8", "uint16")


def conversion(
    dataset: rasterio.DatasetReader, profile: bytes | None, premultiplied: bool
) -> tuple[int, np.dtype, Convert]:
    """Return the channels and dtype to which the file's samples are converted, and the function that does it.

    Args:
        dataset: the opened file; its bands are a palette or in `CHANNELS`, of uint8 or uint16.
        profile: the embedded colour profile.
        premultiplied: whether the colours are stored multiplied by alpha.
    """
    dtype = np.dtype(dataset.dtypes[0])
    if dataset.colorinterp[0].name == "palette":
        table = _palette(dataset.colormap(1), profile)
        return len(table), table.dtype, partial(_looked_up, table)
    channels = CHANNELS[names_of(dataset)]
    bits = int(dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8 * dtype.itemsize))
    if (key := _transparent_colour(dataset)) is not None:
        return channels + 1, dtype, lambda samples: _with_alpha(samples, key, bits)
    if premultiplied:
        return channels, dtype, _divided_by_alpha
    return channels, dtype, lambda samples: _full_range(samples, bits)


def _palette(colours: dict[int, tuple[int, int, int, int]], profile: bytes | None) -> np.ndarray:
    """Return the look-up table (C, entries): grey where all colours are, RGB otherwise, alpha where any is clear."""
    table = np.zeros((4, max(colours) + 1), np.uint8)
    for index, colour in colours.items():
        table[:, index] = colour
    opaque = (table[3] == 255).all()
    grey = (table[0] == table[1]).all() and (table[0] == table[2]).all()
    if grey and (profile is None or profile[16:20] == b"GRAY"):  # a profile for RGB fits no grey image
        return table[:1] if opaque else table[[0, 3]]
    return table[:3] if opaque else table


def _looked_up(table: np.ndarray, samples: np.ndarray) -> np.ndarray:
    highest = samples.max(initial=0)
    if highest >= table.shape[1]:
        raise ValueError(f"colour {highest} of a palette of {table.shape[1]}")
    return table[:, samples[0]]


def _transparent_colour(dataset: rasterio.DatasetReader) -> np.ndarray | None:
    """Return the one transparent colour that a PNG may name, (C, 1, 1)."""
    if dataset.driver != "PNG" or dataset.nodata is None:
        return None
    values = dataset.tags().get("NODATA_VALUES", str(dataset.nodata)).split()
    return np.array(values, dtype=float).reshape(-1, 1, 1)


def _full_range(samples: np.ndarray, bits: int) -> np.ndarray:
    """Stretch samples of fewer bits than their type has."""
    highest = np.iinfo(samples.dtype).max
    if 2**bits - 1 == highest:
        return samples
    return (samples.astype(np.float64) * (highest / (2**bits - 1))).round().astype(samples.dtype)


def _with_alpha(samples: np.ndarray, key: np.ndarray, bits: int) -> np.ndarray:
    """Append alpha: clear where the samples are the transparent colour."""
    alpha = np.where((samples == key).all(axis=0), 0, np.iinfo(samples.dtype).max)
    return np.concatenate([_full_range(samples, bits), alpha.astype(samples.dtype)[None]])


def _divided_by_alpha(samples: np.ndarray) -> np.ndarray:
    highest = np.iinfo(samples.dtype).max
    straight = samples[:-1] * (highest / np.maximum(samples[-1:], 1.0))
    return np.concatenate([straight.round().clip(0, highest).astype(samples.dtype), samples[-1:]])
