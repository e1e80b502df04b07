"""COVIDx, and other sets with its label files."""

from pathlib import Path

from ...core.errors import UserError
from .labelled import LabelledImage
from .missing_files import refuse_missing

CLASSES = (
    ("negative", "positive"),
    ("normal", "pneumonia", "COVID-19"),
    ("level2", "level1"),  # severity on RICORD; the released loaders number them so
)


class COVIDx:
    """Chest X-rays of COVIDx (binary or three classes), or of RICORD by severity (COVIDxSev).

    Shows: frontal chest X-rays of many hospitals; version 8B trains on 13,794 negative and 2,158 positive, and tests
    on 200 of each. Channels: grey or RGB, 8 bits. Layout: `train/` and `test/` with the images, and a label file with
    one line for each: patient, file name, class and source, separated by blanks. Split: given, by patient. Licence:
    that of each source, mostly for research alone. Citation: Wang et al., "COVID-Net", Scientific Reports 2020.

    Args:
        folder: the folder with `train` and `test`.
        part: "train" or "test".
        labels: the label file; None for `<folder>/<part>.txt`.
        licence: terms of the images, written to the card of what is trained on them.
    """

    def __init__(self, folder: Path, part: str = "train", labels: Path | None = None, licence: str = "") -> None:
        self.folder = Path(folder)
        self.part = part
        self.labels = Path(labels) if labels else self.folder / f"{part}.txt"
        self.licence = licence

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the label file speaks of."""
        found = {label for _, _, label in self._lines()}
        return next((each for each in CLASSES if found <= set(each)), ())

    def images(self) -> list[LabelledImage]:
        """Return one image a line.

        Raises:
            UserError: the label file or an image is missing, or a line cannot be read.
        """
        images = [
            LabelledImage(name, label, self.folder / self.part / name, patient)
            for patient, name, label in self._lines()
        ]
        refuse_missing([image.path for image in images], f"images that {self.labels} lists")
        if not images:
            raise UserError(f"{self.labels} lists no images.")
        return images

    def _lines(self) -> list[tuple[str, str, str]]:
        """Return (patient, file name, class) of each line; the last field, the source, may be missing."""
        if not self.labels.is_file():
            raise UserError(
                f"{self.labels}: there is no such file. Make COVIDx by the scripts of github.com/lindawangg/COVID-Net, "
                "and give the label file that belongs to the images."
            )
        known = {name for each in CLASSES for name in each}
        lines = []
        for number, text in enumerate(self.labels.read_text(encoding="utf-8").splitlines(), start=1):
            fields = text.split()
            place = next((i for i in (len(fields) - 1, len(fields) - 2) if i >= 2 and fields[i] in known), None)
            if place is not None:
                lines.append((fields[0], " ".join(fields[1:place]), fields[place]))
            elif fields:
                raise UserError(
                    f"{self.labels} line {number}: expected patient, file name, class and source, found {text!r}."
                )
        return lines
