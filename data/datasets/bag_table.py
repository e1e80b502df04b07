"""Bags in a CSV table with a line for each instance."""

from pathlib import Path

import numpy as np

from ...core.errors import UserError
from ..io.features import Features
from .bag import Bag
from .label_table import read_lines, texts


class BagTable:
    """A CSV file with a line for each instance: bag, class of the bag, numbers; such as MUSK1.

    Shows: any instances that come in bags. Units: those of the table. Layout: a header; the columns of bag, label and,
    where there are such, patient and instance; all other columns are the features. Split: by the patient in the data
    module. Licence and citation: those of the table (MUSK1: CC BY 4.0, Dietterich et al., Artificial Intelligence,
    1997).

    Args:
        csv: the CSV file.
        bag_column: column of the bag.
        label_column: column of the bag's class, the same in all its lines.
        instance_column: column that names the instance; not a feature.
        patient_column: column of the patient; used where the table has it.
        names: {label in the table: name of its class}; None leaves them as they are.
        classes: names of the classes in their order; None for the order of their names.
        licence: terms of the table, written to the card of what is trained on it.
    """

    def __init__(
        self,
        csv: Path,
        bag_column: str = "bag",
        label_column: str = "label",
        instance_column: str = "instance",
        patient_column: str = "patient",
        names: dict[str, str] | None = None,
        classes: list[str] | None = None,
        licence: str = "",
    ) -> None:
        self.csv = Path(csv)
        self.columns = {
            "bag": bag_column,
            "label": label_column,
            "instance": instance_column,
            "patient": patient_column,
        }
        self.names = texts(names)
        self.classes = tuple(classes or ())
        self.licence = licence

    def bags(self) -> list[Bag]:
        """Return the bags in the order of their first lines.

        Raises:
            UserError: the file is missing or is no CSV; a column, a value or a class is missing; a feature is no
                number; the lines of a bag have different labels or patients.
        """
        lines = read_lines(self.csv, [self.columns["bag"], self.columns["label"]])
        if not lines:
            raise UserError(f"{self.csv}: lists no instances.")
        columns = [name for name in lines[0] if name not in self.columns.values()]
        if not columns:
            raise UserError(f"{self.csv}: has no columns of features beside {', '.join(lines[0])}.")
        facts: dict[str, tuple[str, str]] = {}
        rows: dict[str, list[list[float]]] = {}
        for line, values in enumerate(lines, start=2):
            name, label, patient = (str(values.get(self.columns[each]) or "") for each in ("bag", "label", "patient"))
            if not name or not label:
                raise UserError(f"{self.csv} line {line}: the bag or its label is missing.")
            if facts.setdefault(name, (label, patient)) != (label, patient):
                raise UserError(f"{self.csv} line {line}: {name} had the label or patient {facts[name]} before.")
            rows.setdefault(name, []).append([self._number(values[each], each, line) for each in columns])
        return [self._bag(name, *facts[name], np.array(each, np.float32)) for name, each in rows.items()]

    def _bag(self, name: str, label: str, patient: str, values: np.ndarray) -> Bag:
        if self.names is not None and label not in self.names:
            raise UserError(
                f"{self.csv}: the label {label!r} of {name} has no class; names gives one to {', '.join(self.names)}."
            )
        label = label if self.names is None else self.names[label]
        return Bag(name, label, self.csv, patient, features=Features(values))

    def _number(self, value: str | None, column: str, line: int) -> float:
        try:
            return float(value or "")
        except ValueError:
            raise UserError(f"{self.csv} line {line}: {column} is {value!r}, not a number.") from None
