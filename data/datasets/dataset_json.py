"""What the `dataset.json` of nnU-Net and of the Medical Segmentation Decathlon says."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ...core.errors import UserError
from .channel_files import Found
from .patient_cases import PatientCases
from .volume_case import Modality, VolumeCase, grouped

FILE = "dataset.json"
UNSCALED = {"nonorm", "rescale_to_0_1", "rescale_0_1", "rgb_to_0_1"}
"""Names of channels by which nnU-Net is asked for another scaling than those of CT and MR."""


class DescribedFolder(PatientCases, ABC):
    """A folder that describes itself; a subclass gives `found` and `channel_key`.

    Args:
        folder: that holds the file.
        **kwargs: see `PatientCases`.
    """

    channel_key: ClassVar[str]  # under which the names of the channels stand

    def __init__(self, folder: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = Path(folder)

    @abstractmethod
    def found(self) -> Found:
        """Return all cases."""

    @cached_property
    def content(self) -> dict[str, Any]:
        """What `dataset.json` says."""
        return read_dataset_json(self.folder)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the label values from 1 on."""
        return class_names(self.content, self.folder)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return channel_names(self.content, self.channel_key, self.folder)

    @property
    def modality(self) -> Modality | None:
        """What values are."""
        return modality_of(self.channels)

    @property
    def licence(self) -> str:
        """Terms of the volumes."""
        return str(self.content.get("licence") or self.content.get("license") or "")

    def cases(self) -> list[VolumeCase]:
        """Return the cases of the part.

        Raises:
            UserError: `dataset.json` is missing, wrong or asks for what is not supported, files are missing, or a name
                tells no patient.
        """
        _ = self.classes  # what is wrong with them is told first
        return self.chosen(grouped(self.found(), self.group), self.folder)


def read_dataset_json(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's `dataset.json`.

    Raises:
        UserError: there is none, or it is no JSON object.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; give the folder that holds dataset.json, imagesTr, labelsTr.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: is no valid JSON ({error}); mend it or get it again.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold an object, found {type(content).__name__}.")
    return content


def class_names(content: dict[str, Any], folder: Path) -> tuple[str, ...]:
    """Return the names of the label values from 1 on; both {name: value} and {value: name} are understood.

    Raises:
        UserError: labels are missing, are regions, have gaps, do not begin with the background, or one is to be
            ignored.
    """
    path, labels = folder / FILE, content.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise UserError(f'{path}: has no labels; write such as "labels": {{"background": 0, "liver": 1}}.')
    if all(isinstance(value, str) for value in labels.values()):
        labels = {name: int(value) if value.isdecimal() else value for value, name in labels.items()}
    if "ignore" in labels:
        raise UserError(f"{path}: has a label to ignore, which is not supported; relabel these voxels and remove it.")
    if regions := [name for name, value in labels.items() if isinstance(value, (list, tuple))]:
        raise UserError(
            f"{path}: {regions[0]!r} is a region of several values; only classes that exclude one another are "
            "supported. Give each label value a name of its own."
        )
    if sorted(map(str, labels.values())) != sorted(map(str, range(len(labels)))):
        raise UserError(
            f"{path}: label values must be 0 (background), 1, 2 ... without gaps, found "
            f"{', '.join(map(str, labels.values()))}; relabel the files, or correct the values."
        )
    return tuple(sorted(labels, key=labels.__getitem__))[1:]


def channel_names(content: dict[str, Any], key: str, folder: Path) -> tuple[str, ...]:
    """Return the names of the channels in their order.

    Args:
        content: of the file.
        key: "channel_names" or "modality", {number: name}.
        folder: that holds the file, named in errors.

    Raises:
        UserError: they are missing, or not numbered from 0.
    """
    names = content.get(key)
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))) or not names:
        raise UserError(f'{folder / FILE}: has no {key}; write such as "{key}": {{"0": "CT"}}, numbered from 0.')
    return tuple(str(names[str(number)]) for number in range(len(names)))


def modality_of(channels: Sequence[str]) -> Modality | None:
    """Return what the values of these channels are, as nnU-Net reads their names; None where they are mixed."""
    names = {each.lower() for each in channels}
    if names == {"ct"}:
        return "CT"
    return None if names & {"ct", *UNSCALED} else "MR"
