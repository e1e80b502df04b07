"""Folders of volumes with labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .channel_files import NUMBERED, Found, files_in, numbered_cases
from .patient_cases import PatientCases
from .stem_pairs import stem_of, stem_pairs
from .volume_case import Modality, VolumeCase, grouped


class VolumePairs(PatientCases):
    """Volumes and labels in two folders, or in one, that belong together by their names.

    Shows: any volumes of NIfTI. Channels: one; several as the fourth axis of a file; or files of their own,
    `<name>_0000.nii.gz`, `<name>_0001.nii.gz` ..., with labels `<name>.nii.gz`. Units: of the files (CT: HU).
    Resolution: any. Layout: `images/<name>.nii.gz` with `labels/<name>.nii.gz` or `<name>_label.nii.gz` (also `-label`,
    `_seg`, `_gt`). Split: by `VolumeData`'s folds, by the folders, or by the patient into parts. Licence and citation:
    those of the volumes.

    Args:
        images: folder of the volumes.
        labels: folder of the labels, which may be the same.
        modality: "CT" or "MR"; None where `VolumeData` is told.
        classes: names of the label values from 1 on.
        channels: names of the channels.
        licence: terms of the volumes, written to the card of what is trained on them.
        **kwargs: see `PatientCases`.
    """

    def __init__(
        self,
        images: Path,
        labels: Path,
        modality: Modality | None = None,
        classes: Sequence[str] = (),
        channels: Sequence[str] = (),
        licence: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.images = Path(images)
        self.labels = Path(labels)
        self.modality = modality
        self.classes = tuple(classes)
        self.channels = tuple(channels)
        self.licence = licence

    def cases(self) -> list[VolumeCase]:
        """Return the cases of the part by name, numbers in their order.

        Raises:
            UserError: a folder is missing or empty, a volume, a channel or labels are missing, a name tells no patient,
                the part is empty, or the split file does not fit.
        """
        return self.chosen(grouped(self._found(), self.group), self.images)

    def _found(self) -> Found:
        if self._is_numbered():
            return numbered_cases(self.images, self.labels)
        pairs = stem_pairs(self.images, self.labels, ("nifti",))
        return [(stem_of(image), (image,), label) for image, label in pairs]

    def _is_numbered(self) -> bool:
        """Tell whether volumes have a file for each channel: labels then lack the number that images have."""
        if self.images.resolve() == self.labels.resolve():
            return False
        images, labels = ({stem_of(each) for each in files_in(folder)} for folder in (self.images, self.labels))
        numbered = (NUMBERED.fullmatch(each) for each in images)
        return not images & labels and any(match and match[1] in labels for match in numbered)
