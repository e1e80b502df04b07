"""Images listed in a CSV file with their classes."""

from pathlib import Path

from ...core.errors import UserError
from .label_table import LabelTable
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
        columns = {"name": path_column, "label": label_column, "patient": patient_column, "split": split_column}
        self.table = LabelTable(self.csv, columns, part)
        self.classes = tuple(classes or ())
        self.licence = licence

    def images(self) -> list[LabelledImage]:
        """Return one image a line.

        Raises:
            UserError: the CSV file or one of its images is missing, a column or a value is, or an image is listed
                twice.
        """
        rows = self.table.rows()
        missing = [row for row in rows if not (self.folder / row.name).is_file()]
        if missing:
            raise UserError(
                f"{self.csv} line {missing[0].line}: {self.folder / missing[0].name}: there is no such file; "
                f"{len(missing)} of {len(rows)} are missing. "
                "Correct the paths, or give the folder that they are relative to."
            )
        return [LabelledImage(row.name, row.label, self.folder / row.name, row.patient) for row in rows]
