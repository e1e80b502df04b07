"""Folders of volumes with labels."""

from collections.abc import Sequence
from pathlib import Path

from .channel_files import NUMBERED, Found, files_in, numbered_cases
from .group_split import Part, Shares
from .image_masks import group_expression
from .split_file import cases_of
from .stem_pairs import stem_of, stem_pairs
from .volume_case import Modality, VolumeCase, grouped


class VolumePairs:
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
        group: regular expression whose first group, searched in an image's name, is the patient; None where every case
            is a patient's only one.
        part: which part of the patients to take; None for all.
        shares: of the patients that train, validate and test.
        seed: another seed gives another split into parts.
        split: CSV file of names and their parts, as `foveal init` writes it; None deals by `shares` and `seed`.
    """

    def __init__(
        self,
        images: Path,
        labels: Path,
        modality: Modality | None = None,
        classes: Sequence[str] = (),
        channels: Sequence[str] = (),
        licence: str = "",
        group: str | None = None,
        part: Part | None = None,
        shares: Shares = (0.7, 0.15, 0.15),
        seed: int = 0,
        split: Path | None = None,
    ) -> None:
        self.images = Path(images)
        self.labels = Path(labels)
        self.modality = modality
        self.classes = tuple(classes)
        self.channels = tuple(channels)
        self.licence = licence
        self.group = group_expression(group)
        self.part = part
        self.shares = shares
        self.seed = seed
        self.split = split

    def cases(self) -> list[VolumeCase]:
        """Return the cases of the part by name, numbers in their order.

        Raises:
            UserError: a folder is missing or empty, a volume, a channel or labels are missing, a name tells no patient,
                the part is empty, or the split file does not fit.
        """
        cases = grouped(self._found(), self.group)
        return cases_of(cases, self.part, self.shares, self.seed, self.images, self.split)

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
