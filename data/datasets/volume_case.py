"""Labelled volumes: where they are and what is known of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ...core.errors import UserError
from .patient_cases import found_group
from .patient_split import place_of

Modality = Literal["CT", "MR"]
"""What values are: CT has a scale of its own (HU), which all cases share; those of MR mean something within one volume
alone, as do those of whatever else is neither."""


@dataclass(frozen=True)
class VolumeCase:
    """One volume and its labels.

    Attributes:
        name: what reports call it.
        images: a file for each channel, or one file that holds all of them.
        label: the file of its labels.
        group: the patient.
    """

    name: str
    images: tuple[Path, ...]
    label: Path
    group: str


class VolumeSource(Protocol):
    """A dataset layout: it lists its volumes and says what they show.

    Attributes:
        licence: terms of the volumes.
        classes: names of the label values from 1 on; () where the layout does not tell.
        channels: names of the channels, in order; () where the layout does not tell.
        modality: what values are; None where the layout does not tell.
    """

    licence: str
    classes: Sequence[str]
    channels: Sequence[str]
    modality: Modality | None

    def cases(self) -> list[VolumeCase]:
        """Return the volumes in a fixed order; raises UserError where there are none, or files of one are missing."""
        ...


def grouped(
    found: Sequence[tuple[str, tuple[Path, ...], Path]], expression: re.Pattern[str] | None
) -> list[VolumeCase]:
    """Return cases of (name, images, label), whose patient an expression finds in the name of the first image.

    Raises:
        UserError: a name tells no patient.
    """
    groups = [found_group(images[0], expression) for _, images, _ in found]
    return [VolumeCase(*each, group or each[0]) for each, group in zip(found, groups, strict=True)]


def in_fold(cases: Sequence[VolumeCase], fold: int, folds: int, seed: int) -> tuple[list[VolumeCase], list[VolumeCase]]:
    """Return the cases outside and inside of a fold; each patient is inside of one.

    Args:
        cases: to split.
        fold: number of the fold, from 0.
        folds: how many there are.
        seed: another seed gives other folds.

    Raises:
        UserError: there are fewer patients than folds.
    """
    patients = sorted({each.group for each in cases}, key=lambda each: (place_of(f"{seed}/{each}"), each))
    if len(patients) < folds:
        raise UserError(
            f"{len(patients)} patients cannot be split into data.folds {folds}; give fewer folds, or data.validation."
        )
    inside = {*patients[fold::folds]}
    return [each for each in cases if each.group not in inside], [each for each in cases if each.group in inside]
