"""A volume as the report shows it: an image and label maps as stacks of slices that a page can hold.

Stacks are (D, H, W), their indices growing towards the feet, the back and the left, as radiologists look at them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, prod, sqrt

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool3d

from ..inference.streams import Source
from ..planes import busiest, shown_axes, upright
from ..weights.label import Label
from .showcase import Exhibit

LARGEST = 96**3  # voxels of a stack
COARSER = 1.01  # the factor by which voxels grow until a stack is small enough
SHOWN = (0.5, 99.5)  # percentiles of a stack between which values are told apart
MOST_CLASSES = 255


def volume_exhibit(
    source: Source,
    maps: Mapping[str, np.ndarray],
    classes: Sequence[Label],
    orientation: str,
    spacing: Sequence[float],
) -> Exhibit:
    """Return what the report shows of a volume: its first channel under the outlines of label maps.

    Args:
        source: of the image, (C, D, H, W).
        maps: {title: class numbers (D, H, W)}; the planes that are seen first hold most of the first one.
        classes: the labels; those that no map has are left out.
        orientation: where the indices of each axis grow to, such as "SPL".
        spacing: millimetres between voxels along each axis.
    """
    shape = source.shape[1:]
    sizes = stack_shape(shape, spacing)
    image = upright(_averaged(source, sizes), orientation)
    labels = {title: upright(_nearest(each, sizes), orientation) for title, each in maps.items()}
    present = [each for each in classes if any((stack == each.value).any() for stack in labels.values())]
    present = present[:MOST_CLASSES]
    low, high = (float(each) for each in np.percentile(image, SHOWN))
    unit = ((image - low) / max(high - low, 1e-8)).clip(0, 1)
    stacks = {"image": (255 * unit).round().astype(np.uint8)}
    stacks |= {title: _numbered(each, present) for title, each in labels.items()}
    lengths = np.multiply(shape, spacing) / sizes
    return Exhibit(
        "volume",
        {title: sheet_of(each) for title, each in stacks.items()},
        {
            "shape": list(image.shape),
            "step_mm": [round(float(lengths[axis]), 4) for axis in shown_axes(orientation)],
            "columns": _columns(len(image)),
            "values": [low, high],
            "place": list(busiest(next(iter(labels.values())))),
            "classes": [[each.name, "#{:02x}{:02x}{:02x}".format(*each.colour)] for each in present],
        },
    )


def stack_shape(shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
    """Return the size of the stack of a volume: at most `LARGEST` voxels, as near to cubes as its own ones allow.

    Args:
        shape: (D, H, W).
        spacing: millimetres between voxels along each axis.
    """
    voxel = min(spacing)
    while prod(found := _sizes(shape, spacing, voxel)) > LARGEST:
        voxel *= COARSER
    return found


def sheet_of(stack: np.ndarray) -> np.ndarray:
    """Return the slices of a stack (D, H, W) side by side, row by row, as one picture."""
    depth, height, width = stack.shape
    columns = _columns(depth)
    rows = ceil(depth / columns)
    filled = np.pad(stack, ((0, rows * columns - depth), (0, 0), (0, 0)))
    return filled.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)


def _columns(depth: int) -> int:
    return ceil(sqrt(depth))


def _sizes(shape: Sequence[int], spacing: Sequence[float], voxel: float) -> tuple[int, ...]:
    return tuple(min(size, max(1, round(size * step / voxel))) for size, step in zip(shape, spacing, strict=True))


def _averaged(source: Source, sizes: Sequence[int]) -> np.ndarray:
    """Return the first channel in this size, each voxel a mean; as much of the source is held as makes one slice."""
    depth, height, width = source.shape[1:]
    slices = []
    for number in range(sizes[0]):
        rows = slice(floor(number * depth / sizes[0]), ceil((number + 1) * depth / sizes[0]))
        slab = source.read((rows, slice(0, height), slice(0, width)))[:1]
        slices.append(adaptive_avg_pool3d(torch.from_numpy(slab.astype(np.float32)), (1, *sizes[1:]))[0, 0])
    return torch.stack(slices).numpy()


def _nearest(labels: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return the labels at the centres of the voxels of a stack."""
    places = (
        ((np.arange(size) + 0.5) * (length / size)).astype(np.int64)
        for size, length in zip(sizes, labels.shape, strict=True)
    )
    return labels[np.ix_(*places)]


def _numbered(labels: np.ndarray, classes: Sequence[Label]) -> np.ndarray:
    """Return labels as their place among the classes from 1, uint8; 0 where there is none of them."""
    found = np.zeros(labels.shape, np.uint8)
    for number, each in enumerate(classes, start=1):
        found[labels == each.value] = number
    return found
