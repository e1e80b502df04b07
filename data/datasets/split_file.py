"""Splits that a CSV file tells: a line for each thing, with its part and, where known, its patient."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from ...core.errors import UserError
from .group_split import Part
from .label_table import read_lines

COLUMNS = ("name", "patient", "split")


def names_of(split: Path, part: Part | None, names: Iterable[str]) -> set[str]:
    """Return the names that a split file puts into a part.

    Args:
        split: a CSV file with the columns name and split and, where known, patient; split is train, validation or test.
        part: which part; None for all.
        names: all that there are.

    Raises:
        UserError: the file is missing or wrong, parts a patient, lists other names, or has none in the part.
    """
    listed = _listed(Path(split))
    known = set(names)
    if unlisted := sorted(known - {*listed}):
        raise UserError(
            f"{split}: does not tell the part of {unlisted[0]}, and of {len(unlisted)} of {len(known)} in all; add "
            "lines, or make the file anew by `foveal init`."
        )
    if absent := sorted({*listed} - known):
        raise UserError(f"{split}: lists {absent[0]}, which is not there, and {len(absent)} such in all; remove them.")
    chosen = {name for name, value in listed.items() if part in (None, value)}
    if not chosen:
        raise UserError(f"{split}: puts nothing into the part {part}; write {part} behind some names.")
    return chosen


def _listed(path: Path) -> dict[str, str]:
    """Return {name: part} of a file."""
    parts: dict[str, str] = {}
    patients: dict[str, str] = {}
    for line, values in enumerate(read_lines(path, ["name", "split"]), start=2):
        name, patient, part = (_text(values, each) for each in COLUMNS)
        if part not in get_args(Part):
            raise UserError(f"{path} line {line}: the split is {part!r}; write train, validation or test.")
        if name in parts:
            raise UserError(f"{path} line {line}: {name} is listed a second time; remove one line.")
        if patient and patients.setdefault(patient, part) != part:
            raise UserError(f"{path} line {line}: the patient {patient} is in {patients[patient]} too; keep it in one.")
        parts[name] = part
    return parts


def _text(values: dict[str, Any], column: str) -> str:
    return (values.get(column) or "").strip()
