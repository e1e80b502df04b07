"""What training and inference on volumes need to know of a dataset: its fingerprint, and the plan made of it.

The rules are those of nnU-Net (Isensee et al., Nature Methods 2021): a spacing that suits the median case, values
scaled by the voxels of objects, and patches as large as memory allows. Axes are (D, H, W) of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..core.errors import UserError
from ..core.inference.orientation import turn_between
from ..core.weights.card import Card
from .datasets.volume_case import Modality
from .volume_checks import VolumeFacts

STANDARD = "SPL"
"""Axes of networks: slices towards the head, rows to the back, columns to the left, as axial images are looked at."""
COARSE = 3.0  # times the other spacings (and sizes), from which on an axis is treated apart
PERCENTILES = (0.5, 99.5)
EMPTY = 0.25  # of the median volume of MR, from which on the zeros around it do not count
LARGEST = 256**3  # voxels of a patch to begin with

Extent = tuple[int, int, int]
Cost = Callable[[Extent], float | None]
"""Tells the memory of a training step on a patch, as a share of what is allowed; None for a size that the network does
not take."""


@dataclass(frozen=True)
class VolumePlan:
    """How volumes are brought to a network.

    Attributes:
        modality: what values are.
        channels: their names.
        classes: names of the classes but the background; () where not known.
        spacing: of the network's voxels, millimetres.
        orientation: where its indices grow to.
        intensity: how values become those of the network, as on a weights card.
        value_range: as there.
        mean: as there.
        std: as there.
        patch_size: voxels of a training patch, and of a tile of inference.
        cases: number of training cases.
        median_shape: of these at this spacing, voxels.
        class_voxels: voxels of each class in them, the background first, as stored.
    """

    modality: Modality
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    spacing: tuple[float, float, float]
    orientation: str
    intensity: dict[str, Any]
    value_range: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    patch_size: Extent
    cases: int
    median_shape: Extent
    class_voxels: tuple[int, ...]

    def plain(self) -> dict[str, Any]:
        """Return the plan as values for JSON, for the facts of a card's training."""
        return {name: [*each] if isinstance(each, tuple) else each for name, each in asdict(self).items()}

    def card_fields(self) -> dict[str, Any]:
        """Return what a weights card says of the input; tiles share half of their side with the next."""
        return {
            "dimensions": 3,
            "channels": self.channels,
            "spacing": self.spacing,
            "orientation": self.orientation,
            "intensity": self.intensity,
            "value_range": self.value_range,
            "mean": self.mean,
            "std": self.std,
            "tile": self.patch_size,
            "overlap": tuple(side // 2 for side in self.patch_size),
        }

    def card(self) -> Card:
        """Return a card that says this alone, so that training prepares volumes by the code that `infer` does."""
        return Card(name="training data", app="", network={"class_path": ""}, **self.card_fields())


def plan_volumes(
    facts: Sequence[VolumeFacts],
    modality: Modality,
    channels: tuple[str, ...],
    classes: tuple[str, ...],
    multiple: Extent,
    cost: Cost,
    spacing: tuple[float, float, float] | None = None,
    orientation: str | None = None,
    window: tuple[float, float] | None = None,
    patch_size: Extent | None = None,
) -> VolumePlan:
    """Make the plan of some training cases.

    Args:
        facts: of the cases.
        modality: what values are.
        channels: their names.
        classes: names of the classes but the background.
        multiple: the network takes sizes that are multiples of this.
        cost: of a patch.
        spacing: in place of the one that is found.
        orientation: in place of the one that is found.
        window: values of CT that become -1 and 1, with what is beyond cut off, in place of their statistics.
        patch_size: in place of the one that is found.

    Raises:
        UserError: the objects in CT have a single value, or no patch fits into memory.
    """
    orientation = orientation or orientation_of(facts)
    found = spacing or target_spacing(facts, orientation)
    shape = median_shape(facts, orientation, found)
    return VolumePlan(
        modality=modality,
        channels=channels,
        classes=classes,
        spacing=found,
        orientation=orientation,
        **_intensity(facts, modality, window),
        patch_size=patch_size or largest_patch(shape, found, multiple, cost),
        cases=len(facts),
        median_shape=shape,
        class_voxels=tuple(np.sum([each.counts for each in facts], axis=0).tolist()),
    )


def orientation_of(facts: Sequence[VolumeFacts]) -> str:
    """Return the axes of the network: the coarsest first where cases are anisotropic, else the slices to the head."""
    medians = np.median([_along(each, each.spacing, STANDARD) for each in facts], axis=0)
    coarsest = int(medians.argmax())
    if medians[coarsest] < COARSE * np.delete(medians, coarsest).max():
        return STANDARD
    return STANDARD[coarsest] + STANDARD.replace(STANDARD[coarsest], "")


def target_spacing(facts: Sequence[VolumeFacts], orientation: str) -> tuple[float, float, float]:
    """Return the median spacing along each axis; a finer one along an axis that is coarse in millimetres and voxels.

    There it is the 10th percentile, but not finer than the others, so that fewer cases lose detail.

    Args:
        facts: of the cases.
        orientation: of the axes.
    """
    spacings = np.array([_along(each, each.spacing, orientation) for each in facts])
    target = np.median(spacings, axis=0)
    sizes = np.median([_along(each, each.shape, orientation) for each in facts], axis=0)
    worst = int(target.argmax())
    finest_other, smallest_other = np.delete(target, worst).max(), np.delete(sizes, worst).min()
    if target[worst] >= COARSE * finest_other and COARSE * sizes[worst] <= smallest_other:
        target[worst] = max(np.percentile(spacings[:, worst], 10), finest_other)
    depth, height, width = (round(float(each), 4) for each in target)
    return depth, height, width


def median_shape(facts: Sequence[VolumeFacts], orientation: str, spacing: Sequence[float]) -> Extent:
    """Return the median size of cases after they are brought to a spacing, voxels."""
    extents = [
        np.multiply(_along(each, each.shape, orientation), _along(each, each.spacing, orientation)) for each in facts
    ]
    depth, height, width = (max(1, round(each)) for each in np.median(np.divide(extents, spacing).round(), axis=0))
    return depth, height, width


def largest_patch(shape: Extent, spacing: Sequence[float], multiple: Extent, cost: Cost) -> Extent:
    """Return the largest patch that memory allows, cube-like in millimetres and about as large as the median case.

    Args:
        shape: of the median case, voxels.
        spacing: millimetres.
        multiple: the network takes sizes that are multiples of this.
        cost: of a patch.

    Raises:
        UserError: not even the smallest fits.
    """
    cube = np.cbrt(LARGEST * np.prod(spacing)) / np.array(spacing)
    steps = [max(1, -(-round(min(side, size)) // each)) for side, size, each in zip(cube, shape, multiple, strict=True)]
    while True:
        patch = tuple(step * each for step, each in zip(steps, multiple, strict=True))
        share = cost(patch)
        if share is not None and share <= 1:
            return patch
        if max(steps) == 1:
            raise UserError(
                f"a step on the smallest patch, {' x '.join(map(str, patch))}, does not fit into data.memory_mb; raise "
                "it, or make data.batch_size or the network smaller."
            )
        _shrink(steps, multiple, shape, np.prod(patch) / (share or 1))


def _shrink(steps: list[int], multiple: Extent, shape: Extent, voxels: float) -> None:
    """Take from the axes that cover most of a case, once at least and until no more than these voxels are left."""
    while max(steps) > 1:
        share = [step * each / size if step > 1 else 0 for step, each, size in zip(steps, multiple, shape, strict=True)]
        steps[int(np.argmax(share))] -= 1
        if np.prod(np.multiply(steps, multiple)) <= voxels:
            return


def _intensity(facts: Sequence[VolumeFacts], modality: Modality, window: tuple[float, float] | None) -> dict[str, Any]:
    """Return what a card says of values."""
    if modality == "MR":
        is_cut_out = np.median([each.filled for each in facts]) <= 1 - EMPTY
        return {
            "intensity": {"zscore": "nonzero" if is_cut_out else True},
            "value_range": (0.0, 1.0),
            "mean": (),
            "std": (),
        }
    if window:
        return {"intensity": {"window": [*map(float, window)]}, "value_range": (-1.0, 1.0), "mean": (), "std": ()}
    samples = np.concatenate([each.samples for each in facts], axis=1).astype(np.float64)
    low, high = (round(float(each), 4) for each in np.percentile(samples, PERCENTILES))
    if low >= high:
        raise UserError(f"the objects of all training cases have the value {low:g}; give data.window, or modality MR.")
    mean, std = (tuple(round(float(each), 4) for each in values) for values in (samples.mean(1), samples.std(1)))
    return {"intensity": {"window": [low, high]}, "value_range": (low, high), "mean": mean, "std": std}


def _along(facts: VolumeFacts, values: Sequence[float], orientation: str) -> tuple[float, ...]:
    """Return values of a case's stored axes in the order of an orientation."""
    return tuple(values[axis] for axis in turn_between(facts.orientation, orientation).order)
