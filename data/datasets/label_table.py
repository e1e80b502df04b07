"""CSV files that tell the class of things: name, label and, where known, patient and part."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...core.errors import UserError


class Row(NamedTuple):
    """One line of a table.

    Attributes:
        line: its number in the file, the header being 1.
        name: what has the class.
        label: name of the class.
        patient: whose it is; "" where the file does not say.
    """

    line: int
    name: str
    label: str
    patient: str


@dataclass(frozen=True)
class LabelTable:
    """A CSV file with a header and a line for each thing.

    Attributes:
        csv: the file.
        columns: names of its columns "name", "label", "patient" and "split"; the last two are used where it has them.
        part: which lines to take, by the column of the split; None for all.
        pattern: regular expression that a name must contain for its line to be taken; None for all.
        names: {label in the file: name of its class}; several may become one. None leaves them as they are.
        nouns: what the file lists, for errors.
    """

    csv: Path
    columns: Mapping[str, str]
    part: str | None = None
    pattern: re.Pattern[str] | None = None
    names: Mapping[str, str] | None = None
    nouns: str = "images"

    def rows(self) -> list[Row]:
        """Return the lines that are taken.

        Raises:
            UserError: the file is missing or is no CSV; a column or a value is missing; a name is listed twice; a
                label has no class; no line is taken.
        """
        taken: dict[str, Row] = {}
        for line, values in enumerate(self._lines(), start=2):
            if not self._takes(values):
                continue
            row = self._row(values, line)
            if row.name in taken:
                raise UserError(f"{self.csv} line {line}: {row.name} is listed a second time; remove one line.")
            taken[row.name] = row
        if not taken:
            limits = [f" with {self.columns['split']} {self.part!r}"] if self.part is not None else []
            limits += [f" with {self.pattern.pattern!r} in their name"] if self.pattern is not None else []
            raise UserError(f"{self.csv} lists no {self.nouns}{''.join(limits)}.")
        return list(taken.values())

    def listed(self) -> set[str]:
        """Return the names of all lines, also of those that are not taken."""
        return {(values[self.columns["name"]] or "").strip() for values in self._lines()}

    def _takes(self, values: Mapping[str, str]) -> bool:
        if self.part is not None and (values[self.columns["split"]] or "").strip() != self.part:
            return False
        return self.pattern is None or self.pattern.search(values[self.columns["name"]] or "") is not None

    def _lines(self) -> list[dict[str, str]]:
        needed = ("name", "label", *(["split"] if self.part is not None else []))
        return read_lines(self.csv, [self.columns[each] for each in needed])

    def _row(self, values: Mapping[str, str], line: int) -> Row:
        name, label, patient = ((values.get(self.columns[each]) or "").strip() for each in ("name", "label", "patient"))
        for what, value in ((self.columns["name"], name), (self.columns["label"], label)):
            if not value:
                raise UserError(f"{self.csv} line {line}: the {what} is missing.")
        if self.names is not None and label not in self.names:
            raise UserError(
                f"{self.csv} line {line}: the label {label!r} has no class; names gives one to {', '.join(self.names)}."
            )
        return Row(line, name, label if self.names is None else self.names[label], patient)


def read_lines(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV file with a header.

    Args:
        path: the file.
        needed: the columns that it must have.

    Raises:
        UserError: it is missing, no CSV in UTF-8, or lacks a column.
    """
    if not path.is_file():
        columns = f" with {' and '.join(needed)} among its columns" if needed else ""
        raise UserError(f"{path}: there is no such file. Give a CSV file{columns}.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, lines = list(reader.fieldnames or []), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is no CSV file in UTF-8 ({error}).") from None
    if absent := [each for each in needed if each not in columns]:
        raise UserError(
            f"{path}: has no column {' or '.join(absent)}, but {', '.join(columns[:20]) or 'none'}. "
            "Add it, or name the right one where an option (such as --label_column) does."
        )
    return lines


def texts(names: Mapping[Any, str] | None) -> dict[str, str] | None:
    """Return names by labels as text; a config has those that are numbers as numbers."""
    return None if names is None else {str(label): str(name) for label, name in names.items()}
