"""Folders as nnU-Net v2 has them."""

from pathlib import Path
from typing import Any, Literal

from ...core.errors import UserError
from .channel_files import ENDINGS, Found, numbered_cases
from .dataset_json import FILE, DescribedFolder


class NnUNetFolder(DescribedFolder):
    """A dataset of nnU-Net v2: `dataset.json`, `imagesTr/<name>_0000.nii.gz` ..., `labelsTr/<name>.nii.gz`.

    Shows: any volumes of NIfTI with classes that exclude one another. Channels, classes and, by a channel that is
    called CT, the modality: as `dataset.json` says. Units: of the files (CT: HU). Resolution: any. Split: by
    `VolumeData`'s folds, or by the patient into parts here. Licence and citation: those of the volumes.

    Args:
        folder: of the dataset, such as nnUNet_raw/Dataset003_Liver.
        files: "Tr" for imagesTr and labelsTr, "Ts" for imagesTs and labelsTs where the test cases have labels.
        **kwargs: see `PatientCases`.
    """

    channel_key = "channel_names"

    def __init__(self, folder: Path, files: Literal["Tr", "Ts"] = "Tr", **kwargs: Any) -> None:
        super().__init__(folder, **kwargs)
        self.files = files

    def found(self) -> Found:
        """Return all cases by name, numbers in their order.

        Raises:
            UserError: files are missing or of another format, or there are not as many cases as `dataset.json` says.
        """
        ending = self.content.get("file_ending", ENDINGS[0])
        if ending not in ENDINGS:
            raise UserError(f"{self.folder / FILE}: the files end in {ending}; only {' and '.join(ENDINGS)} are read.")
        found = self._listed() if "dataset" in self.content and self.files == "Tr" else self._numbered(ending)
        number = self.content.get("numTraining", len(found))
        if self.files == "Tr" and number != len(found):
            raise UserError(
                f"{self.folder / FILE}: tells of {number} training cases, but {len(found)} are there; complete the "
                "files, or correct numTraining."
            )
        return found

    def _numbered(self, ending: str) -> Found:
        images, labels = (self.folder / f"{kind}{self.files}" for kind in ("images", "labels"))
        return numbered_cases(images, labels, len(self.channels), (ending,))

    def _listed(self) -> Found:
        """Return the cases that `dataset.json` lists by their files, which may lie anywhere."""
        return [
            (name, tuple(self.folder / each for each in entry["images"]), self.folder / entry["label"])
            for name, entry in self.content["dataset"].items()
        ]
