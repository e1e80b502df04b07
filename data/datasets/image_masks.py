"""Folders of images with masks."""

import re
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from .group_split import Part, Shares
from .masked_images import MaskedImage, check_intensity
from .split_file import cases_of
from .stem_pairs import stem_of, stem_pairs


class ImageMasks:
    """Images and masks in two folders, or in one, that belong together by their names.

    Shows: any 2D images: PNG, JPEG, TIFF, BMP or DICOM, of any sizes. Channels: grey or colour, 8 or 16 bits. Layout:
    `images/<name>.png` with `masks/<name>.png` or `masks/<name>_mask.png` (also `_label`, `_seg`, `_gt`); a mask holds
    class numbers, two classes as 0 and 255 (JPEG included: cut at 128), the entries of a palette, or the greys that
    `values` names. Split: given by the folders, or by the patient within one folder. Licence and citation: those of the
    images.

    CHAOS as its slices are published for MSGA is `{train,val,test}/{Img,GT}/Subj_<id>slice_<n>.png` with the values
    [0, 63, 126, 189, 252] and the group "Subj_([0-9]+)". Kvasir-SEG and the other polyp sets are `images/`, `masks/`.

    Args:
        images: folder of the images.
        masks: folder of the masks, which may be the same.
        licence: terms of the images, written to the card of what is trained on them.
        values: grey value of each class in the masks; None for class numbers.
        group: regular expression whose first group, searched in an image's name, is the patient; None where every image
            is a patient's only one.
        part: which part of the patients to take; None for all.
        shares: of the patients that train, validate and test.
        seed: another seed gives another split.
        intensity: how values become 0..1, as `intensity` of the model; needed for grey DICOM.
        skip_empty: leave out of the training images whose mask is all background.
        split: CSV file of names and their parts, as `foveal init` writes it; None deals by `shares` and `seed`.

    Raises:
        UserError: `group` is no expression with a group, or `intensity` is impossible.
    """

    def __init__(
        self,
        images: Path,
        masks: Path,
        licence: str = "",
        values: tuple[int, ...] | None = None,
        group: str | None = None,
        part: Part | None = None,
        shares: Shares = (0.7, 0.15, 0.15),
        seed: int = 0,
        intensity: dict[str, Any] | None = None,
        skip_empty: bool = False,
        split: Path | None = None,
    ) -> None:
        check_intensity(intensity)
        self.images = Path(images)
        self.masks = Path(masks)
        self.licence = licence
        self.values = None if values is None else tuple(values)
        self.group = group_expression(group)
        self.part = part
        self.shares = shares
        self.seed = seed
        self.split = split
        self.intensity = intensity
        self.skip_empty = skip_empty

    def cases(self) -> list[MaskedImage]:
        """Return the images of the part by name, numbers in their order.

        Raises:
            UserError: a folder is missing or empty, an image or a mask is without the other, a name tells no patient,
                the part is empty, or the split file does not fit.
        """
        pairs = stem_pairs(self.images, self.masks, ("image", "dicom"))
        cases = [
            MaskedImage(stem_of(image), image, mask, found_group(image, self.group) or stem_of(image))
            for image, mask in pairs
        ]
        return cases_of(cases, self.part, self.shares, self.seed, self.images, self.split)


def group_expression(text: str | None) -> re.Pattern[str] | None:
    """Return the regular expression whose first group is the patient.

    Raises:
        UserError: it is none, or has no group.
    """
    if text is None:
        return None
    try:
        expression = re.compile(text)
    except re.error as error:
        raise UserError(
            f"group {text!r}: is no regular expression ({error}); give one such as Subj_([0-9]+)."
        ) from None
    if not expression.groups:
        raise UserError(f"group {text!r}: marks no part of the name; put the patient in brackets: Subj_([0-9]+).")
    return expression


def found_group(path: Path, expression: re.Pattern[str] | None) -> str | None:
    """Return what the expression's first group finds in a file's name; None without an expression.

    Raises:
        UserError: it finds nothing.
    """
    if expression is None:
        return None
    found = expression.search(path.name)
    if found is None or found[1] is None:
        raise UserError(f"{path}: the name tells no patient by the expression {expression.pattern!r}; correct `group`.")
    return found[1]
