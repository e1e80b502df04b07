"""Folders of images with masks."""

from pathlib import Path
from typing import Any, ClassVar

from ..io.formats import Kind
from .masked_images import MaskedImage, check_intensity
from .patient_cases import PatientCases, found_group
from .stem_pairs import stem_of, stem_pairs


class ImageMasks(PatientCases):
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
        intensity: how values become 0..1, as `intensity` of the model; needed for grey DICOM.
        skip_empty: leave out of the training images whose mask is all background.
        **kwargs: see `PatientCases`.

    Raises:
        UserError: `group` is no expression with a group, or `intensity` is impossible.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("image", "dicom")

    def __init__(
        self,
        images: Path,
        masks: Path,
        licence: str = "",
        values: tuple[int, ...] | None = None,
        intensity: dict[str, Any] | None = None,
        skip_empty: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_intensity(intensity)
        self.images = Path(images)
        self.masks = Path(masks)
        self.licence = licence
        self.values = None if values is None else tuple(values)
        self.intensity = intensity
        self.skip_empty = skip_empty

    def cases(self) -> list[MaskedImage]:
        """Return the images of the part by name, numbers in their order.

        Raises:
            UserError: a folder is missing or empty, an image or a mask is without the other, a name tells no patient,
                the part is empty, or the split file does not fit.
        """
        pairs = stem_pairs(self.images, self.masks, self.kinds)
        cases = [
            MaskedImage(stem_of(image), image, mask, found_group(image, self.group) or stem_of(image))
            for image, mask in pairs
        ]
        return self.chosen(cases, self.images)
