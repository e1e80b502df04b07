"""Slices of volumes with labels."""

from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ..io.nifti import header as headers
from ..io.nifti.unpack import first_bytes
from .group_split import Part, Shares
from .image_masks import found_group, group_expression
from .masked_images import MaskedImage, check_intensity
from .split_file import cases_of
from .stem_pairs import stem_of, stem_pairs

PERCENTILES = {"percentiles": [1, 99]}


class VolumeSlices:
    """Slices of NIfTI volumes along one axis of their files, as 2D images.

    Shows: any volumes, also with several channels as a fourth axis (BRATS of the Medical Segmentation Decathlon: FLAIR,
    T1, T1 with contrast, T2). Units: any; `intensity` brings each volume and channel to 0..1. Resolution: as it is, the
    spacing is handed on. Layout: `images/<name>.nii.gz` with `labels/<name>.nii.gz` or `<name>_label.nii.gz` (also
    `-label`, `_seg`, `_gt`), in one folder too (HVSMR). Split: by the volume or the patient, never by the slice.
    Licence and citation: those of the volumes.

    Args:
        images: folder of the volumes.
        labels: folder of the labels, which may be the same.
        axis: axis of the file, (i, j, k) = (0, 1, 2), along which slices are counted; 2 gives axial slices of most.
        skip_empty: leave out of the training slices without any label; evaluation takes all.
        intensity: how values become 0..1: {"percentiles": [low, high]} of each channel of the volume or {"window":
            [low, high]}; give the model the same.
        licence: terms of the volumes, written to the card of what is trained on them.
        values: label of each class; None for class numbers.
        group: regular expression whose first group, searched in a volume's name, is the patient, whose volumes stay in
            one part; None where every volume is a patient's only one.
        part: which part of the patients to take; None for all.
        shares: of the patients that train, validate and test.
        seed: another seed gives another split.
        split: CSV file of names and their parts, as `foveal init` writes it; None deals by `shares` and `seed`.

    Raises:
        UserError: the axis, `group` or `intensity` is impossible.
    """

    def __init__(
        self,
        images: Path,
        labels: Path,
        axis: int = 2,
        skip_empty: bool = True,
        intensity: dict[str, Any] | None = None,
        licence: str = "",
        values: tuple[int, ...] | None = None,
        group: str | None = None,
        part: Part | None = None,
        shares: Shares = (0.7, 0.15, 0.15),
        seed: int = 0,
        split: Path | None = None,
    ) -> None:
        check_intensity(intensity)
        if axis not in (0, 1, 2):
            raise UserError(f"axis {axis}: a volume has the axes 0, 1 and 2.")
        self.images = Path(images)
        self.labels = Path(labels)
        self.axis = axis
        self.skip_empty = skip_empty
        self.intensity = intensity or PERCENTILES
        self.licence = licence
        self.values = None if values is None else tuple(values)
        self.group = group_expression(group)
        self.part = part
        self.shares = shares
        self.seed = seed
        self.split = split

    def cases(self) -> list[MaskedImage]:
        """Return the slices of the part's volumes, by name of the volume and number of the slice.

        Raises:
            UserError: a folder is missing or empty, a volume or its labels are missing or no volumes, a name tells no
                patient, the part is empty, or the split file does not fit.
        """
        pairs = stem_pairs(self.images, self.labels, ("nifti",))
        volumes = [
            MaskedImage(stem_of(image), image, labels, found_group(image, self.group) or stem_of(image))
            for image, labels in pairs
        ]
        chosen = cases_of(volumes, self.part, self.shares, self.seed, self.images, self.split)
        return [case for each in chosen for case in self._slices(each.image, each.mask)]

    def _slices(self, image: Path, labels: Path) -> list[MaskedImage]:
        name = stem_of(image)
        return [
            MaskedImage(f"{name} slice {number}", image, labels, name, self.axis, number)
            for number in range(_sizes(image)[self.axis])
        ]


def _sizes(path: Path) -> tuple[int, ...]:
    """Return the sizes along (i, j, k), from the header alone."""
    header = headers.parse(first_bytes(path, headers.LONGEST_HEADER), path)
    sizes = headers.dimensions(header, path)
    if len(sizes) < 3:
        raise UserError(f"{path}: is a single slice, not a volume; leave it out, or use ImageMasks.")
    return sizes
