"""What `init` finds where pictures or volumes have masks: both folders, classes, patients and a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import UserError
from .checks import Report
from .datasets.mask_values import HALF, LOSSY
from .datasets.stem_pairs import stem_of, stem_pairs
from .init_folders import IMAGES, MASKS, PARTS, Roots, find_folder, look, patients_of, roots_of, split_of
from .io.formats import Kind

MOST_VALUES = 32  # more grey values are no classes
SOFT = 0.98  # share of the samples at both ends, from which on greys between are soft edges


@dataclass(frozen=True)
class Masked:
    """A folder of images with masks.

    Attributes:
        roots: the folder of each part.
        images: folder of the images of the training.
        masks: that of their masks.
        is_given: both folders were given, and are not looked for in the folder of a part.
        reports: of the folder of each part.
        classes: stored value of each class, the background first.
        told_classes: a sentence about them.
        rows: lines of the split file.
        training: number of images that are trained on.
        told: sentences about patients and split.
    """

    roots: Roots
    images: Path
    masks: Path
    is_given: bool
    reports: list[Report]
    classes: list[int]
    told_classes: str
    rows: list[dict[str, str]]
    training: int
    told: list[str]

    @property
    def arguments(self) -> dict[str, Any]:
        """The argument `values` of a layout, where masks do not hold the numbers of classes."""
        plain = self.classes == [*range(len(self.classes))] or (len(self.classes) == 2 and self.classes[1] >= HALF)
        return {} if plain else {"values": self.classes}

    def folders(self, root: Path, masks: str = "masks") -> dict[str, str]:
        """Return the folders of the images and masks of a part, as arguments of a layout."""
        pair = (self.images, self.masks) if self.is_given else _pair(root, None, "")
        return {"images": str(pair[0].resolve()), masks: str(pair[1].resolve())}


def find_masked(
    app: str, input: Path, labels: Path | None, layout: str, kinds: tuple[Kind, ...], patient: str | None, seed: int
) -> Masked:
    """Find images, masks, classes and patients, read every file, and deal patients to parts.

    Args:
        app: its name, for errors.
        input: the folder that was given.
        labels: that of the masks, if it was given.
        layout: what is expected, for errors.
        kinds: the formats of images.
        patient: see `patients_of`.
        seed: see `deal`.

    Raises:
        UserError: something is missing or cannot be used.
    """
    roots: Roots = dict.fromkeys(PARTS, input) if labels else roots_of(input)
    pairs = {root: _pair(root, labels, layout) for root in dict.fromkeys(roots.values())}
    reports, lossy = [], False
    for images, masks in pairs.values():
        files = stem_pairs(images, masks, kinds)
        lossy |= any(mask.suffix.lower() in LOSSY for _, mask in files)
        reports.append(look(app, images, masks, kinds, apart=0.1))
    images, masks = pairs[roots["train"]]
    classes, told_classes = classes_of(reports, masks, lossy)
    names = [stem_of(image) for image, _ in stem_pairs(images, masks, kinds)]
    owners, told = patients_of(names, patient, images)
    split = split_of(owners, roots, seed, images, "image")
    told = [told, split.told]
    is_given = labels is not None
    return Masked(roots, images, masks, is_given, reports, classes, told_classes, split.rows, split.training, told)


def classes_of(reports: Sequence[Report], masks: Path, lossy: bool) -> tuple[list[int], str]:
    """Return the stored value of each class, the background first, and a sentence about them.

    Args:
        reports: of images with masks.
        masks: folder of the masks, named in errors.
        lossy: some are JPEG, whose values are not exact.

    Raises:
        UserError: they hold one value alone, or too many for classes.
    """
    counts = sum((each.classes for each in reports), type(reports[0].classes)())
    values, total = sorted(counts), counts.total()
    if len(values) < 2:
        raise UserError(f"{masks}: the masks hold the value {values[0]} alone; they must hold the numbers of classes.")
    ends = sum(count for value, count in counts.items() if value <= 16 or value >= 239)
    if max(values) >= HALF and len(values) > 2 and (lossy or ends / total >= SOFT) and _is_two(counts):
        share = sum(count for value, count in counts.items() if value >= HALF) / total
        return [0, 255], f"masks of two classes, cut at {HALF} as edges are soft; {share:.1%} of the pixels are object"
    if len(values) > MOST_VALUES:
        raise UserError(
            f"{masks}: the masks hold {len(values)} values, such as {', '.join(map(str, values[:6]))}; these are no "
            "classes. Write the number of the class of each pixel: 0 for the background, then 1, 2 ..."
        )
    shares = ", ".join(f"{value} ({counts[value] / total:.2%})" for value in values)
    return values, f"masks of {len(values)} classes, the background included: {shares} of the samples"


def _is_two(counts: Any) -> bool:
    """Tell whether the values in between are few, none of them as frequent as a class would be."""
    between = [count for value, count in counts.items() if 16 < value < 239]
    return sum(between) < (1 - SOFT) * counts.total() + 1


def median_side(reports: Sequence[Report], fewest: int, most: int, multiple: int = 32) -> tuple[int, str]:
    """Return the side of the square that images are brought to, and the median size of images in words."""
    extents = np.array([each.facts.extent[-2:] for report in reports for each in report.usable])
    height, width = (int(each) for each in np.median(extents, axis=0))
    side = min(max(round((height * width) ** 0.5 / multiple) * multiple, fewest), most)
    return side, f"the median picture is {width} x {height}"


def _pair(root: Path, labels: Path | None, layout: str) -> tuple[Path, Path]:
    """Return the folders of images and masks."""
    if labels is not None:
        if not labels.is_dir():
            raise UserError(f"--labels {labels}: there is no such folder; give that of the masks.")
        return root, labels
    return find_folder(root, IMAGES, "images", layout), find_folder(root, MASKS, "masks", layout)
