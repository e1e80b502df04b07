"""Slices of volumes with labels."""

from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ..io.nifti import header as headers
from ..io.nifti.unpack import first_bytes
from .image_masks import ImageMasks
from .masked_images import MaskedImage
from .stem_pairs import stem_of

PERCENTILES = {"percentiles": [1, 99]}


class VolumeSlices(ImageMasks):
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
        **kwargs: see `ImageMasks`.

    Raises:
        UserError: the axis, `group` or `intensity` is impossible.
    """

    kinds = ("nifti",)

    def __init__(
        self,
        images: Path,
        labels: Path,
        axis: int = 2,
        skip_empty: bool = True,
        intensity: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(images, labels, intensity=intensity or PERCENTILES, skip_empty=skip_empty, **kwargs)
        if axis not in (0, 1, 2):
            raise UserError(f"axis {axis}: a volume has the axes 0, 1 and 2.")
        self.axis = axis

    def cases(self) -> list[MaskedImage]:
        """Return the slices of the part's volumes, by name of the volume and number of the slice.

        Raises:
            UserError: a folder is missing or empty, a volume or its labels are missing or no volumes, a name tells no
                patient, the part is empty, or the split file does not fit.
        """
        return [case for each in super().cases() for case in self._slices(each.image, each.mask)]

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
