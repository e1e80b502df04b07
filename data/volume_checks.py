"""Looking at one labelled volume before training: whether it can be used, and what the plan needs to know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import UserError
from ..core.inference.streams import Window
from ..core.inference.windows import slabs, whole
from ..core.messages import counted
from .datasets.mask_values import whole_numbers
from .datasets.volume_case import VolumeCase
from .volume_channels import check_grid, open_labels, open_volume

SAMPLES = 10_000  # voxels of objects whose values are looked at
SLAB = 4 << 20  # voxels that are read at once


@dataclass(frozen=True)
class VolumeFacts:
    """What is known of one case.

    Attributes:
        shape: (D, H, W) as stored, voxels.
        spacing: between them, millimetres.
        orientation: where the indices of D, H and W grow to, such as "SPL".
        counts: voxels of each class, the background first.
        filled: share of the volume in the smallest box that holds all voxels other than 0.
        samples: values of some voxels of objects, evenly chosen, float32 (C, n), in the units of the file.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    orientation: str
    counts: tuple[int, ...]
    filled: float
    samples: np.ndarray


def check_volume(
    case: VolumeCase, channels: int, classes: int, relabel: Mapping[int, int] | None = None
) -> VolumeFacts:
    """Read a case from end to end.

    Args:
        case: the volume and its labels.
        channels: that it must have.
        classes: number of classes, the background included.
        relabel: what some label values become.

    Raises:
        UserError: a file is missing, damaged or no volume; the image does not say how far voxels are apart, has other
            channels, values that are no numbers, or a channel of one value; the labels lie on another grid, are no
            whole numbers, or have values beyond the classes.
    """
    with ExitStack() as opened:
        image = opened.enter_context(open_volume(case.images))
        _check_channels(case, image.shape[0], channels)
        check_spacing(case.images, image)
        labels = opened.enter_context(open_labels(case.label, relabel))
        if labels.shape[0] != 1:
            raise UserError(f"{case.label}: holds {labels.shape[0]} volumes (4D); labels are one. Give that alone.")
        check_grid(case.label, labels.geometry, case.images[0], image.geometry)
        counts = sum(np.bincount(each.ravel(), minlength=classes) for _, each in _numbers(case, labels, classes))
        _check_finite(case.label, getattr(labels, "not_finite", 0))
        looked_at = _looked_at(case, image, labels, classes, int(counts[1:].sum()))
        place = image.geometry
        return VolumeFacts(place.shape, place.spacing_mm, place.orientation, tuple(map(int, counts)), *looked_at)


def _check_channels(case: VolumeCase, found: int, wanted: int) -> None:
    if found == wanted:
        return
    if len(case.images) == 1 and wanted == 1:
        raise UserError(
            f"{case.images[0]}: holds {found} volumes (4D), the network takes one; choose one of them, or give a "
            f"network of {found} channels."
        )
    raise UserError(
        f"{case.images[0]}: the case {case.name} has {counted(found, 'channel')}, the network takes {wanted}; "
        "correct the data or model.net.in_channels."
    )


def _numbers(case: VolumeCase, labels: Any, classes: int) -> Iterator[tuple[Window, np.ndarray]]:
    """Yield the class numbers of each slab."""
    for window in slabs(whole(labels.shape[1:]), most=SLAB):
        numbers = whole_numbers(labels.read(window)[0], case.label)
        if numbers.max() >= classes:
            raise UserError(
                f"{case.label}: holds the label {numbers.max()}; the network's classes are 0..{classes - 1}. Say in "
                f"data.relabel what it becomes, such as {{{numbers.max()}: {classes - 1}}}, or give a network of more "
                "classes."
            )
        yield window, numbers


def _looked_at(case: VolumeCase, image: Any, labels: Any, classes: int, total: int) -> tuple[float, np.ndarray]:
    """Read all values of the image; return how much of it is filled, and every n-th voxel of an object, (C, n)."""
    step = max(1, -(-total // SAMPLES))
    seen, chosen, lows, highs = 0, [], [], []
    used = [np.zeros(size, bool) for size in image.shape[1:]]  # along each axis, where a voxel is other than 0
    for window, numbers in _numbers(case, labels, classes):
        values = image.read(window)
        for axis, along in enumerate(used):
            along[window[axis]] |= values.any(axis=tuple({0, 1, 2, 3} - {axis + 1}))
        values = values.reshape(len(values), -1)
        lows.append(values.min(axis=1))
        highs.append(values.max(axis=1))
        places = np.flatnonzero(numbers)
        chosen.append(values[:, places[-seen % step :: step]])
        seen += len(places)
    check_values(case.images, getattr(image, "not_finite", 0), np.min(lows, axis=0), np.max(highs, axis=0))
    box = [np.ptp(np.flatnonzero(along)) + 1 for along in used]
    return float(np.prod(np.divide(box, image.shape[1:]))), np.concatenate(chosen, axis=1)


def check_values(images: Sequence[Path], not_finite: int, lows: np.ndarray, highs: np.ndarray) -> None:
    """Refuse a volume that holds nothing, or what is no number.

    Args:
        images: its file, or one for each channel.
        not_finite: how many voxels are no finite numbers.
        lows: the lowest value of each channel.
        highs: the highest.

    Raises:
        UserError: a voxel is no finite number, or all of a channel have one value.
    """
    _check_finite(images[0], not_finite)
    for number, (low, high) in enumerate(zip(lows, highs, strict=True)):
        if low == high:
            path = images[number if len(images) > 1 else 0]
            raise UserError(f"{path}: all voxels have the value {low:g}; get the file again, or leave the case out.")


def check_spacing(images: Sequence[Path], image: Any) -> None:
    """Refuse a volume whose header does not say how far its voxels are apart.

    Raises:
        UserError: it says 0.
    """
    if not getattr(image, "has_spacing", True):
        raise UserError(f"{images[0]}: the header says that voxels are 0 mm apart; correct its spacing.")


def _check_finite(path: Path, count: int) -> None:
    if count:
        raise UserError(
            f"{path}: {count} voxels are no finite numbers (NaN or infinite); replace them, by 0 where nothing was "
            "measured."
        )
