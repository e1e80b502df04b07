"""Slides whose features lie in files, with a table of their classes."""

import logging
from pathlib import Path

from ...core.errors import UserError
from ..io import slide
from ..io.features import SUFFIXES, groups
from .bag import Bag
from .label_table import LabelTable, Row, texts
from .patient_cases import regular_expression

logger = logging.getLogger(__name__)


class FeatureBags:
    """Features of slides: a file for each in a folder, or a group for each in one HDF5 file.

    Shows: tiles of slides, as vectors of an encoder. Layout: a folder of `<slide>.h5` or `<slide>.pt`, as CLAM, TRIDENT
    and `foveal wsi features` write them, or one HDF5 file as ACMIL's authors have it, whose groups may carry the class
    as the attribute `label`; and a CSV file with a line for each slide. Units: the encoder's; coordinates are pixels of
    level 0. Split: by a column of the table, by a pattern of the names, or by the patient in the data module. Licence
    and citation: those of the slides.

    Args:
        features: the folder, or the HDF5 file.
        labels: the CSV file; None takes the attributes of the groups.
        part: which lines of the table to take, by the column `split_column`; None for all.
        pattern: regular expression that the names of the slides to take contain; None for all.
        slide_column: column of the slide, with or without the suffix of its file.
        label_column: column of the class.
        patient_column: column of the patient; used where the table has it.
        split_column: column of the part.
        names: {label in the table: name of its class}; several may become one class.
        classes: names of the classes in their order; None for the order of their names.
        skip_unmatched: leave out labels without a slide and slides without a label, with a warning, not refuse them.
        licence: terms of the slides, written to the card of what is trained on them.
        slides: folder of the slides themselves, which the report then shows; None where they are not at hand.
    """

    def __init__(
        self,
        features: Path,
        labels: Path | None = None,
        part: str | None = None,
        pattern: str | None = None,
        slide_column: str = "slide",
        label_column: str = "label",
        patient_column: str = "patient",
        split_column: str = "split",
        names: dict[str, str] | None = None,
        classes: list[str] | None = None,
        skip_unmatched: bool = False,
        licence: str = "",
        slides: Path | None = None,
    ) -> None:
        self.features = Path(features)
        self.pattern = regular_expression(pattern, "pattern")
        self.names = texts(names)
        columns = {"name": slide_column, "label": label_column, "patient": patient_column, "split": split_column}
        self.table = (
            None if labels is None else LabelTable(Path(labels), columns, part, self.pattern, self.names, "slides")
        )
        self.skip_unmatched = skip_unmatched
        self.classes = tuple(classes or ())
        self.licence = licence
        self.pictures = {} if slides is None else _pictures(Path(slides))
        if labels is None and part is not None:
            raise UserError(f"{features}: a part {part!r} needs a table of labels with the column {split_column}.")

    def bags(self) -> list[Bag]:
        """Return one bag a slide.

        Raises:
            UserError: folder, file or table is missing; a slide has no label, two files, or a label no slide.
        """
        slides = self.slides()
        if self.table is None:
            return self._by_attributes(slides)
        self._check_lines({stem_of(name) for name in self.table.listed()}, slides)
        rows = self.table.rows()
        absent = [row for row in rows if stem_of(row.name) not in slides]
        if absent:
            self._unmatched(
                f"{self.table.csv} line {absent[0].line}: {self.features} has no features of {absent[0].name}; "
                f"{len(absent)} of {len(rows)} slides lack them"
            )
        if len(absent) == len(rows):
            raise UserError(f"{self.table.csv}: none of its slides has features in {self.features}.")
        return [self._bag(row, *slides[stem_of(row.name)]) for row in rows if stem_of(row.name) in slides]

    def _bag(self, row: Row, path: Path, group: str) -> Bag:
        name = stem_of(row.name)
        return Bag(name, row.label, path, row.patient, group, picture=self.pictures.get(name))

    def slides(self) -> dict[str, tuple[Path, str]]:
        """Return {slide: (file, group in it)}, whether or not it has a label.

        Raises:
            UserError: there are none, or two of one slide.
        """
        if self.features.is_file():
            return {stem_of(name): (self.features, name) for name in groups(self.features)}
        if not self.features.is_dir():
            raise UserError(f"{self.features}: there is no such folder or file of features.")
        found: dict[str, tuple[Path, str]] = {}
        for path in sorted(self.features.iterdir()):
            if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
                continue
            name = stem_of(path.stem)
            if name in found:
                raise UserError(f"{path}: {found[name][0].name} beside it is of the same slide; remove one.")
            found[name] = (path, "")
        if not found:
            raise UserError(f"{self.features}: holds no features ({', '.join(SUFFIXES)}).")
        return found

    def _by_attributes(self, slides: dict[str, tuple[Path, str]]) -> list[Bag]:
        if not self.features.is_file():
            raise UserError(f"{self.features}: a folder of features needs a table of labels; give labels.")
        told = {name: each.get("label") for name, each in groups(self.features).items()}
        taken = [name for name in told if self.pattern is None or self.pattern.search(name)]
        if not taken:
            raise UserError(f"{self.features}: holds no slides with {self.pattern.pattern!r} in their name.")
        bags = []
        for name in taken:
            label = None if told[name] is None else str(told[name])
            if label is None or (self.names is not None and label not in self.names):
                raise UserError(f"{self.features} group {name}: its attribute label is {label}, which is no class.")
            kind, picture = label if self.names is None else self.names[label], self.pictures.get(stem_of(name))
            bags.append(Bag(stem_of(name), kind, self.features, "", name, picture=picture))
        return bags

    def _check_lines(self, listed: set[str], slides: dict[str, tuple[Path, str]]) -> None:
        unlabelled = [name for name in slides if name not in listed]
        if unlabelled:
            self._unmatched(
                f"{slides[unlabelled[0]][0]}: {unlabelled[0]} has no label in {self.table.csv}; "
                f"{len(unlabelled)} of {len(slides)} slides lack one"
            )

    def _unmatched(self, problem: str) -> None:
        if not self.skip_unmatched:
            raise UserError(f"{problem}. Complete both, or set skip_unmatched to leave such slides out.")
        logger.warning("%s; they are left out", problem)


def stem_of(name: str) -> str:
    """Return the name of a slide without the suffix of a slide's or feature file; others belong to the name."""
    path = Path(name)
    return path.stem if path.suffix.lower() in (*slide.SUFFIXES, *SUFFIXES) else path.name


def _pictures(folder: Path) -> dict[str, Path]:
    """Return the slides in a folder by their names; raises UserError where there is no such folder."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder of slides; leave slides out where they are not at hand.")
    return {stem_of(path.name): path for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
