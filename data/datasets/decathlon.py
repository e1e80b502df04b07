"""Folders as the Medical Segmentation Decathlon has them."""

from ...core.errors import UserError
from .channel_files import Found
from .dataset_json import FILE, DescribedFolder
from .missing_files import refuse_missing
from .stem_pairs import stem_of


class Decathlon(DescribedFolder):
    """A task of the Medical Segmentation Decathlon: `dataset.json` with a list "training" of {image, label}.

    Shows: organs, lesions or tumours in CT or MR, by task. Channels: one, or several as the fourth axis of a file
    (BRATS: FLAIR, T1, T1 with contrast, T2). Units: HU in CT. Resolution: any. Layout: as published,
    `imagesTr/<name>.nii.gz` and `labelsTr/<name>.nii.gz` or wherever the list says. Split: by `VolumeData`'s folds, or
    by the patient into parts here. Licence: CC BY-SA 4.0, as `dataset.json` says. Citation: Antonelli et al., "The
    Medical Segmentation Decathlon", Nature Communications 2022.

    Args:
        folder: of the task, such as Task04_Hippocampus.
        **kwargs: see `PatientCases`.
    """

    channel_key = "modality"

    def found(self) -> Found:
        """Return all training cases in the order of the list.

        Raises:
            UserError: there is no list, or a file of it is missing.
        """
        listed = self.content.get("training")
        if not isinstance(listed, list) or not listed or not all(map(_is_pair, listed)):
            raise UserError(
                f'{self.folder / FILE}: has no list "training" of {{"image": ..., "label": ...}}; datasets of nnU-Net '
                "v2 are read by NnUNetFolder."
            )
        pairs = [(self.folder / each["image"], self.folder / each["label"]) for each in listed]
        refuse_missing([path for pair in pairs for path in pair], f"files that {FILE} lists")
        return [(stem_of(image), (image,), label) for image, label in pairs]


def _is_pair(entry: object) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("image", "label"))
