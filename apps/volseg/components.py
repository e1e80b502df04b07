"""Removing loose parts of a class from a label map on disk, in bounded memory.

A component is what touches by faces, edges or corners (26 neighbours). The map is looked at in slabs that share one
slice, whose components are joined by what they have in common there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ...core.errors import UserError
from ...core.inference.windows import slabs
from ...core.weights.label import Label
from .profiles import Labels, Profiles

TOUCHING = np.ones((3, 3, 3), bool)
ALL = "all"

Window = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Filter:
    """Which components of a class are kept.

    Attributes:
        only_largest: the largest alone.
        smallest_ml: millilitres that a component needs.
    """

    only_largest: bool = False
    smallest_ml: float = 0.0


class ChangeableLabels(Labels, Protocol):
    """A label map of which windows can be written anew."""

    def write(self, window: tuple[slice, ...], values: np.ndarray) -> None:
        """Store the labels of a window, (1, d, h, w)."""
        ...


def filters_of(classes: Sequence[Label], largest: Sequence[str], smallest: Sequence[str]) -> dict[int, Filter]:
    """Return the filters that a user asks for, by the values of the classes.

    Args:
        classes: of the network.
        largest: names or values of the classes of which the largest component alone is kept; "all" for all.
        smallest: millilitres, such as "0.5" for all classes and "liver=5" for one, which counts then.

    Raises:
        UserError: there is no such class, or a number is none.
    """
    found = dict.fromkeys((each.value for each in classes), Filter())
    for word in largest:
        for value in _values(word, classes, "--largest_component"):
            found[value] = replace(found[value], only_largest=True)
    for word in sorted(smallest, key=lambda each: "=" in each):
        name, _, number = word.rpartition("=")
        for value in _values(name or ALL, classes, "--smallest_ml"):
            found[value] = replace(found[value], smallest_ml=_millilitres(word, number))
    return {value: each for value, each in found.items() if each != Filter()}


def clean(labels: ChangeableLabels, filters: dict[int, Filter], found: Profiles, voxel_ml: float) -> int:
    """Make background of the components that filters do not keep; return how many there were.

    Args:
        labels: changed in place.
        filters: by the value of the class.
        found: what the map holds.
        voxel_ml: volume of a voxel, millilitres.
    """
    boxes = {value: found.box(value) for value in filters}
    return sum(
        remove_components(labels, value, boxes[value], each.only_largest, each.smallest_ml / voxel_ml)
        for value, each in filters.items()
        if boxes[value] is not None
    )


def remove_components(
    labels: ChangeableLabels, value: int, box: Window, only_largest: bool = False, smallest: float = 0.0
) -> int:
    """Make background of components of a class.

    Done again, also after an interruption, it gives the same map. Of equally large components the first is kept.

    Args:
        labels: changed in place.
        value: the class.
        box: a window that holds the whole class; nothing else is read.
        only_largest: keep the largest component alone.
        smallest: voxels that a component needs to be kept.

    Returns:
        How many components were removed.
    """
    windows = list(slabs(box, shared=1))
    firsts, sizes, names = _joined(labels, value, windows)
    if not len(sizes):
        return 0
    kept = sizes >= smallest
    if only_largest:
        kept &= np.arange(len(sizes)) == sizes.argmax()
    if kept.all():
        return 0
    # From the last slab to the first, so that the slice a slab shares with the one before it is still as it was.
    for number in reversed(range(len(windows))):
        own = kept[names[firsts[number] : firsts[number + 1]]]
        if not own.all():
            _remove(labels, value, windows[number], own, begins=number == 0)
    return int((~kept).sum())


def _joined(labels: Labels, value: int, windows: list[Window]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Find the components of all slabs and join those that are one.

    Returns:
        The number of each slab's first part, and one past the last; the voxels of each component; the component of
        each part.
    """
    firsts, sizes, pairs = [0], [], []
    last: np.ndarray | None = None
    for window in windows:
        parts, count = _parts(labels, value, window)
        own = parts if last is None else parts[1:]
        sizes.append(np.bincount(own.ravel(), minlength=count + 1)[1:])
        if last is not None:
            shared = parts[0] > 0
            both = [last[shared] + firsts[-2] - 1, parts[0][shared] + firsts[-1] - 1]
            pairs.append(np.unique(both, axis=1))
        last = parts[-1].copy()
        firsts.append(firsts[-1] + count)
    joins = np.concatenate([np.zeros((2, 0), np.int64), *pairs], axis=1)
    graph = coo_array((np.ones(joins.shape[1], bool), (joins[0], joins[1])), shape=(firsts[-1], firsts[-1]))
    count, names = connected_components(graph, directed=False)
    return firsts, np.bincount(names, weights=np.concatenate(sizes), minlength=count), names


def _parts(labels: Labels, value: int, window: Window) -> tuple[np.ndarray, int]:
    """Return the numbers, from 1, of the components in a slab, and how many there are."""
    return ndimage.label(labels.read(window)[0] == value, TOUCHING)


def _remove(labels: ChangeableLabels, value: int, window: Window, kept: np.ndarray, begins: bool) -> None:
    """Make background of the parts of a slab that are not kept, but in the slice that it shares with the one before."""
    parts, _ = _parts(labels, value, window)
    gone = np.concatenate([[False], ~kept])[parts]
    rows, *others = window
    own = rows if begins else slice(rows.start + 1, rows.stop)
    changed = labels.read((own, *others))
    changed[0][gone[own.start - rows.start :]] = 0
    labels.write((own, *others), changed)


def _values(word: str, classes: Sequence[Label], option: str) -> list[int]:
    """Return the values of the classes that a word means."""
    values = [each.value for each in classes if word in (ALL, each.name, str(each.value))]
    if not values:
        names = ", ".join(each.name for each in classes)
        raise UserError(f"{option} {word}: the network has no such class; it has {names}; give one of these, or {ALL}.")
    return values


def _millilitres(word: str, number: str) -> float:
    try:
        found = float(number)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise UserError(f"--smallest_ml {word}: give millilitres such as 0.5, or of one class such as liver=5.")
    return found
