"""One folder of images for each class."""

from pathlib import Path

from ...core.errors import UserError
from ..io.formats import is_single_image
from .labelled import LabelledImage
from .patient_cases import found_group, group_expression


class ClassFolders:
    """Images in one folder for each class: `<folder>/<class>/<image>`.

    Shows: any 2D images, PNG, JPEG, TIFF, BMP or DICOM. Split: by the patient in the data module, where the file
    names tell who it is; else give separate folders. Licence and citation: those of the images.

    Args:
        folder: the folder that holds those of the classes.
        patient: regular expression whose first group, searched in a file's name, is the patient, such as "^([0-9]+)_";
            None where names do not tell.
        classes: the folders to take, in the order of the classes; None for all in the order of their names.
        licence: terms of the images, written to the card of what is trained on them.
    """

    def __init__(
        self, folder: Path, patient: str | None = None, classes: list[str] | None = None, licence: str = ""
    ) -> None:
        self.folder = Path(folder)
        self.patient = group_expression(patient, "patient")
        self.classes = tuple(classes or ())
        self.licence = licence

    def images(self) -> list[LabelledImage]:
        """Return the images of all classes by name.

        Raises:
            UserError: a folder is missing or empty, or a name tells no patient.
        """
        if not self.folder.is_dir():
            raise UserError(f"{self.folder} is not a folder. Give the folder that holds one folder for each class.")
        classes = self.classes or sorted(path.name for path in self.folder.iterdir() if path.is_dir())
        if not classes:
            raise UserError(f"{self.folder} holds no folders. Expected one for each class, with its images.")
        return [image for label in classes for image in self._of_class(label)]

    def _of_class(self, label: str) -> list[LabelledImage]:
        folder = self.folder / label
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder. Expected the images of the class {label}.")
        files = sorted(filter(is_single_image, folder.rglob("*")))
        if not files:
            raise UserError(f"{folder} holds no images. Expected files such as *.png, *.jpg or *.dcm.")
        return [
            LabelledImage(path.relative_to(self.folder).as_posix(), label, path, found_group(path, self.patient) or "")
            for path in files
        ]
