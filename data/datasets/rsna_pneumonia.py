"""The RSNA pneumonia detection challenge as a classification of images."""

import csv
from pathlib import Path

from ...core.errors import UserError
from .group_split import check_part
from .labelled import LabelledImage
from .missing_files import refuse_missing
from .patient_split import place_of

PARTS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
BINARY = ("no pneumonia", "pneumonia")
DETAILED = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")


class RSNAPneumonia:
    """Chest X-rays of the RSNA pneumonia challenge (Kaggle, 2018).

    Shows: frontal chest X-rays, one for each of 26,684 patients, 6,012 with pneumonia. Channels: grey, 8 bits, DICOM,
    1024 pixels. Layout: `stage_2_train_images/<patientId>.dcm`, `stage_2_train_labels.csv` (several rows for a patient
    with several boxes: positive where any is) and `stage_2_detailed_class_info.csv`. Split: the public test set has no
    labels and the split of the paper is not known; here 80, 10 and 10 % by a hash of patientId. Licence: the
    challenge's, for academic research and education. Citation: Shih et al., Radiology: Artificial Intelligence 2019.

    Args:
        folder: the folder with these files.
        part: "train", "validation" or "test".
        detailed: three classes in place of two.
        licence: terms of the images, written to the card of what is trained on them.
    """

    def __init__(self, folder: Path, part: str = "train", detailed: bool = False, licence: str = "") -> None:
        self.folder = Path(folder)
        self.part = part
        self.detailed = detailed
        self.classes = DETAILED if detailed else BINARY
        self.licence = licence

    def images(self) -> list[LabelledImage]:
        """Return the images of the part by patient.

        Raises:
            UserError: a file is missing, a table lacks a column, or there is no such part.
        """
        check_part(self.part)
        low, high = PARTS[self.part]
        labels = {patient: label for patient, label in self._labels().items() if low <= place_of(patient) < high}
        images = [
            LabelledImage(patient, label, self.folder / "stage_2_train_images" / f"{patient}.dcm", patient)
            for patient, label in sorted(labels.items())
        ]
        advice = "Unpack stage_2_train_images.zip of the challenge."
        refuse_missing([image.path for image in images], "images that the labels list", advice)
        return images

    def _labels(self) -> dict[str, str]:
        if self.detailed:
            return dict(self._columns("stage_2_detailed_class_info.csv", "class"))
        found: dict[str, str] = {}
        for patient, target in self._columns("stage_2_train_labels.csv", "Target"):
            found[patient] = max(found.get(patient, BINARY[0]), BINARY[target.strip() == "1"], key=BINARY.index)
        return found

    def _columns(self, name: str, column: str) -> list[tuple[str, str]]:
        path = self.folder / name
        if not path.is_file():
            raise UserError(
                f"{path}: there is no such file. Get the RSNA pneumonia detection challenge from Kaggle and unpack it."
            )
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if absent := [each for each in ("patientId", column) if each not in (reader.fieldnames or [])]:
                raise UserError(f"{path}: has no column {absent[0]}, but {', '.join(reader.fieldnames or [])}.")
            return [(row["patientId"], row[column]) for row in reader]
