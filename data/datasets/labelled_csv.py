"""Images listed in a CSV file with their classes."""

import csv
from pathlib import Path

from ...core.errors import UserError
from .labelled import LabelledImage


class LabelledCsv:
    """Images in a folder, listed in a CSV file: path, label and, where known, patient and split.

    Shows: any 2D images, PNG, JPEG, TIFF, BMP or DICOM. Layout: a file with a header; a line for each image; paths
    are relative to `folder`. Split: by the column `split`, where `part` is given, else by the patient in the data
    module. Licence and citation: those of the images.

    Args:
        csv: the CSV file.
        folder: what its paths are relative to; None for the file's own folder.
        part: which lines to take, by the column `split_column`; None for all.
        path_column: column of the path.
        label_column: column of the class, by name or number.
        patient_column: column of the patient; used where the file has it.
        split_column: column of the part.
        classes: names of the classes in their order; None for the order of their names.
        licence: terms of the images, written to the card of what is trained on them.
    """

    def __init__(
        self,
        csv: Path,
        folder: Path | None = None,
        part: str | None = None,
        path_column: str = "path",
        label_column: str = "label",
        patient_column: str = "patient",
        split_column: str = "split",
        classes: list[str] | None = None,
        licence: str = "",
    ) -> None:
        self.csv = Path(csv)
        self.folder = Path(folder) if folder else self.csv.parent
        self.part = part
        self.columns = {"path": path_column, "label": label_column, "patient": patient_column, "split": split_column}
        self.classes = tuple(classes or ())
        self.licence = licence

    def images(self) -> list[LabelledImage]:
        """Return one image a line.

        Raises:
            UserError: the CSV file or one of its images is missing, a column or a value is, or an image is listed
                twice.
        """
        columns, rows = self._rows()
        self._check_columns(columns)
        images: dict[str, LabelledImage] = {}
        missing = []
        for line, row in enumerate(rows, start=2):
            if self.part is not None and row[self.columns["split"]] != self.part:
                continue
            image = self._image(row, line)
            if image.name in images:
                raise UserError(f"{self.csv} line {line}: {image.name} is listed a second time; remove one line.")
            images[image.name] = image
            if not image.path.is_file():
                missing.append(f"line {line}: {image.path}")
        if missing:
            raise UserError(
                f"{self.csv} {missing[0]}: there is no such file; {len(missing)} of {len(images)} are missing. "
                "Correct the paths, or give the folder that they are relative to."
            )
        if not images:
            where = f" with {self.columns['split']} {self.part!r}" if self.part is not None else ""
            raise UserError(f"{self.csv} lists no images{where}.")
        return list(images.values())

    def _rows(self) -> tuple[list[str], list[dict[str, str]]]:
        if not self.csv.is_file():
            raise UserError(f"{self.csv}: there is no such file. Give a CSV file with the columns path and label.")
        try:
            with self.csv.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                return list(reader.fieldnames or []), list(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{self.csv}: is no CSV file in UTF-8 ({error}).") from None

    def _check_columns(self, columns: list[str]) -> None:
        needed = ["path", "label", *(["split"] if self.part is not None else [])]
        if absent := [self.columns[each] for each in needed if self.columns[each] not in columns]:
            raise UserError(
                f"{self.csv}: has no column {' or '.join(absent)}, but {', '.join(columns) or 'none'}. "
                "Name its columns by path_column, label_column and so on."
            )

    def _image(self, row: dict[str, str], line: int) -> LabelledImage:
        path, label, patient = ((row.get(self.columns[each]) or "").strip() for each in ("path", "label", "patient"))
        for name, value in (("path", path), ("label", label)):
            if not value:
                raise UserError(f"{self.csv} line {line}: the {name} is missing.")
        return LabelledImage(path, label, self.folder / path, patient)
