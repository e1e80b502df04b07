"""Layouts whose cases belong to patients: whose each is, and which of them are taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from ...core.errors import UserError
from .group_split import Part, Shares, groups_of
from .split_file import names_of


class Grouped(Protocol):
    """What belongs to a patient, or is the patient's only one.

    Attributes:
        name: what the split file calls it.
        group: the patient.
    """

    name: str
    group: str


Case = TypeVar("Case", bound=Grouped)


class PatientCases:
    """Cases of patients, of whom a layout takes one part.

    Args:
        group: regular expression whose first group, searched in a file's name, is the patient; None where every case is
            a patient's only one.
        part: which part of the patients to take; None for all.
        shares: of the patients that train, validate and test.
        seed: another seed gives another split into parts.
        split: CSV file of names and their parts, as `foveal init` writes it; None deals by `shares` and `seed`.

    Raises:
        UserError: `group` is no expression with a group.
    """

    def __init__(
        self,
        group: str | None = None,
        part: Part | None = None,
        shares: Shares = (0.7, 0.15, 0.15),
        seed: int = 0,
        split: Path | None = None,
    ) -> None:
        self.group = group_expression(group)
        self.part = part
        self.shares = shares
        self.seed = seed
        self.split = split

    def chosen(self, cases: Sequence[Case], where: object) -> list[Case]:
        """Return the cases of the part; all of them without one.

        Args:
            cases: all of the layout.
            where: the data, named in errors.

        Raises:
            UserError: the part is empty, the shares are impossible, or the split file does not fit the cases.
        """
        if self.split is not None:
            names = names_of(self.split, self.part, (each.name for each in cases))
            return [each for each in cases if each.name in names]
        if self.part is None:
            return list(cases)
        groups = groups_of((each.group for each in cases), self.part, self.shares, self.seed, where)
        return [each for each in cases if each.group in groups]


def regular_expression(text: str | None, option: str) -> re.Pattern[str] | None:
    """Return a regular expression; None without a text.

    Args:
        text: the expression.
        option: where it was given, named in errors.

    Raises:
        UserError: it is none.
    """
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise UserError(
            f"{option} {text!r}: is no regular expression ({error}); give one such as Subj_([0-9]+)."
        ) from None


def group_expression(text: str | None, option: str = "group") -> re.Pattern[str] | None:
    """Return the regular expression whose first group is the patient; None without a text.

    Args:
        text: the expression.
        option: where it was given, named in errors.

    Raises:
        UserError: it is none, or has no group.
    """
    expression = regular_expression(text, option)
    if expression is not None and not expression.groups:
        raise UserError(f"{option} {text!r}: marks no part of the name; put that in brackets: Subj_([0-9]+).")
    return expression


def found_group(path: Path, expression: re.Pattern[str] | None, noun: str = "patient") -> str | None:
    """Return what the expression's first group finds in a file's name; None without an expression.

    Args:
        path: the file.
        expression: as `group_expression` returns it.
        noun: what is looked for.

    Raises:
        UserError: it finds nothing.
    """
    if expression is None:
        return None
    found = expression.search(path.name)
    if found is None or found[1] is None:
        raise UserError(f"{path}: the name tells no {noun} by the expression {expression.pattern!r}; correct it.")
    return found[1]
