"""What `init` finds in CSV files of classes: which column is what, and a split of the patients, class by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from .datasets.label_table import read_lines
from .datasets.patient_split import split_patients
from .init_folders import FEWEST_PATIENTS, PARTS, SHARES, expected

LABELS = ("label", "class", "diagnosis", "target", "category", "finding")
PATIENTS = ("patient", "patientid", "case", "caseid", "subject", "subjectid")
SPLITS = ("split", "part", "set", "subset")


@dataclass(frozen=True)
class Thing:
    """An image or a slide with its class.

    Attributes:
        name: what a layout finds it by.
        label: its class.
        patient: whose it is; "" where that is not known.
        split: its part; "" where it is to be dealt.
    """

    name: str
    label: str
    patient: str = ""
    split: str = ""

    @property
    def person(self) -> str:
        """The patient, or the thing itself."""
        return self.patient or self.name


def find_table(folder: Path, given: Path | None, layout: str) -> Path:
    """Return the CSV file of the classes: the given one, or the only one in a folder.

    Raises:
        UserError: there is none, or there are several.
    """
    if given is not None:
        return given
    splits = {f"{each.stem}_split.csv" for each in folder.glob("*.yaml")}  # of earlier runs of `init`
    files = sorted(each for each in folder.glob("*.csv") if each.name not in splits)
    if len(files) == 1:
        return files[0]
    if files:
        named = ", ".join(each.name for each in files[:6])
        raise UserError(f"{folder}: holds {len(files)} CSV files ({named}); give that of the classes by --labels.")
    raise UserError(f"{folder}: holds no CSV file of the classes. {expected(layout)}")


def read_table(
    path: Path, known: Sequence[str], keys: Sequence[Callable[[str], str]], noun: str, label_column: str | None
) -> tuple[list[Thing], list[str]]:
    """Return what a table says of known things, and sentences about what was found.

    Args:
        path: the CSV file.
        known: names of the files.
        keys: each makes of a file's or a table's name what both may have in common; earlier ones go first.
        noun: what the files are.
        label_column: column of the class; None to find it.

    Raises:
        UserError: the file cannot be read, a column is missing, or none of the files has a class.
    """
    lines = read_lines(path, [label_column] if label_column else [])
    columns = [each for each in (lines[0] if lines else {}) if isinstance(each, str)]
    best, key, by_key, most = None, keys[0], {}, 0
    for each in keys:
        names = {each(name): name for name in known}
        for column in columns:
            matches = sum(each(_text(line, column)) in names for line in lines)
            if len(names) == len(known) and matches > most:
                best, key, by_key, most = column, each, names, matches
    if best is None:
        raise UserError(
            f"{path}: no column names the {noun}, such as {known[0]}; its columns are {', '.join(columns) or 'none'}. "
            "Add one with the names of the files."
        )
    rest = [each for each in columns if each != best]
    label = label_column or _column(rest, LABELS)
    if label is None:
        raise UserError(
            f"{path}: no column is called label; give that of the class, of {', '.join(rest)}, by --label_column."
        )
    patient, split = _column(rest, PATIENTS), _column(rest, SPLITS)
    things = {}
    for line in lines:
        name = by_key.get(key(_text(line, best)))
        if name and _text(line, label):
            things[name] = Thing(name, _text(line, label), _text(line, patient), _part(_text(line, split)))
    if not things:
        raise UserError(
            f"{path}: no line that names one of the {noun} has a class in the column {label}; fill it in, or give "
            "another column by --label_column."
        )
    told = f"columns of {path.name}: {best} ({noun}), {label} (class)"
    told += f", {patient} (patient)" if patient else ""
    told += f", {split} (split)" if split else ""
    notes = [told]
    if absent := len(known) - len(things):
        notes.append(f"{absent} of {len(known)} {noun} have no class in {path.name} and are left out")
    if astray := [_text(line, best) for line in lines if key(_text(line, best)) not in by_key]:
        notes.append(f"{len(astray)} of {len(lines)} lines of {path.name} name none of the {noun}, such as {astray[0]}")
    return list(things.values()), notes


def deal_classes(things: Sequence[Thing], seed: int, where: Path, noun: str) -> list[Thing]:
    """Return things with their parts: those that the table has, else dealt by patient, each class in the same shares.

    Args:
        things: with their classes.
        seed: another seed gives another split.
        where: the data, named in errors.
        noun: what they are.

    Raises:
        UserError: there are fewer than two classes, or a class has too few patients.
    """
    labels = sorted({each.label for each in things})
    if len(labels) < 2:
        raise UserError(f"{where}: all {noun} are of the class {labels[0]}; two classes at least are needed.")
    told = {each.split for each in things}
    if "" not in told and {"train", "validation"} <= told:
        return list(things)
    is_tested = "" not in told and "test" in told
    fixed = [each for each in things if is_tested and each.split == "test"]
    free = [each for each in things if each not in fixed]
    for label in labels:
        people = {each.person for each in free if each.label == label}
        if len(people) < FEWEST_PATIENTS:
            raise UserError(
                f"{where}: the class {label} has {noun} of {len(people)} patients, but {FEWEST_PATIENTS} at least are "
                "needed, one each for train, validation and test. Add some, or take the class away."
            )
    shares = {part: SHARES[part] for part in PARTS if part != "train" and not (is_tested and part == "test")}
    dealt = split_patients(free, shares, "train", seed)
    return fixed + [replace(each, split=part) for part, members in dealt.items() for each in members]


def sources_of(class_path: str, arguments: Mapping[str, Any], things: Sequence[Thing]) -> dict[str, Any]:
    """Return train, validation and test of a config, whose layout reads the parts of the split file."""

    def source(part: str) -> dict[str, Any]:
        return {"class_path": class_path, "init_args": {**arguments, "part": part}}

    test = {"own": source("test")} if any(each.split == "test" for each in things) else None
    return {"train": [source("train")], "validation": [source("validation")], "test": test, "test_share": 0.0}


def rows_of(things: Sequence[Thing], name: str) -> list[dict[str, str]]:
    """Return the lines of the split file, `name` being its column of the things."""
    has_patients = any(each.patient for each in things)
    return [
        {name: each.name, "label": each.label}
        | ({"patient": each.person} if has_patients else {})
        | {"split": each.split}
        for each in sorted(things, key=lambda each: each.name)
    ]


def told_classes(things: Sequence[Thing], noun: str, seed: int) -> list[str]:
    """Return sentences about classes, patients and split."""
    labels, parts = Counter(each.label for each in things), Counter(each.split for each in things)
    people = {each.person for each in things}
    has_patients = any(each.patient for each in things)
    owners = f"{len(people)} patients" if has_patients else "no patients known, each its own"
    noun_of_split = "patient" if has_patients else noun.removesuffix("s")
    return [
        f"{len(things)} {noun}, {owners}; classes: {', '.join(f'{name} ({n})' for name, n in sorted(labels.items()))}",
        f"split by {noun_of_split}, seed {seed}: {', '.join(f'{parts[part]} {part}' for part in PARTS if parts[part])}",
    ]


def _column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the column of one of some names; earlier ones go first."""
    bare = {each.lower().replace("_", "").replace(" ", ""): each for each in columns}
    return next((bare[name] for name in names if name in bare), None)


def _part(text: str) -> str:
    return next((part for part, names in PARTS.items() if text.lower() in names), "")


def _text(line: Mapping[str, str | None], column: str | None) -> str:
    return (line.get(column) or "").strip() if column else ""
