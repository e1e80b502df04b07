"""What `init` finds in a folder of volumes: their layout, channels, classes and modality."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ...data.checks import Report
from ...data.datasets.channel_files import ENDINGS as NIFTI
from ...data.datasets.decathlon import Decathlon
from ...data.datasets.volume_case import Modality, VolumeSource
from ...data.datasets.volume_pairs import VolumePairs
from ...data.init_config import Noted
from ...data.init_folders import IMAGES, MASKS, expected, find_folder, folder_named, look
from ...data.io.formats import is_dicom_file
from ...data.volume_channels import APART
from .dataset import PLAN, look_at, parts_of

AIR = -500  # HU; a lower value is in nearly every CT, and in no MR


@dataclass(frozen=True)
class FoundVolumes:
    """A folder of volumes with labels.

    Attributes:
        report: of its files.
        source: its layout.
        layout: class path of that.
        arguments: those of the layout.
        names: of the cases.
        channels: their number.
        why_channels: where that is from.
        classes: names of the classes but the background.
        relabel: what stored values become, to close gaps; {} where there are none.
        modality: what values are.
        why_modality: where that is from.
        check: the options of `check`, word by word.
    """

    report: Report
    source: VolumeSource
    layout: str
    arguments: dict[str, Any]
    names: list[str]
    channels: int
    why_channels: str
    classes: list[str]
    relabel: dict[int, int]
    modality: Modality
    why_modality: str
    check: list[str | Path]

    @property
    def told(self) -> list[str]:
        """Sentences about classes and the plan of a training."""
        counts = self.report.classes
        shares = ", ".join(f"{value} ({counts[value] / counts.total():.2%})" for value in sorted(counts))
        plan = self.report.more.get(PLAN, {})
        planned = ", ".join(f"{name} {_short(value)}" for name, value in plan.items())
        return [
            f"{len(self.names)} volumes with labels; channels of each: {self.channels}",
            f"label values {shares} of the voxels; classes: {', '.join(self.classes)}",
            *([f"{PLAN}: {planned}"] if planned else []),
        ]


def find_volumes(input: Path, labels: Path | None, layout: str) -> FoundVolumes:
    """Find volumes and labels and read every file.

    Args:
        input: the folder that was given.
        labels: that of the labels, if it was given.
        layout: what is expected, for errors.

    Raises:
        UserError: something is missing or cannot be used.
    """
    images, masks, described = parts_of(input, labels)
    if described is None:
        images, masks = _folders(input, labels, layout)
    elif masks is None:
        raise UserError(f"{input}: has dataset.json, but no folder labelsTr. {expected(layout)}")
    _refuse_dicom(images, layout)
    report = look("volseg", images, masks, ("nifti",), APART, partial(_look_at, described=described))
    relabel = {} if described else _gaps(report)
    source = described or VolumePairs(images, masks)
    cases = source.cases()
    first = next(each for each in report.usable if each.item.path == cases[0].images[0])
    channels = max(len(cases[0].images), first.facts.channels)
    values = sorted(value for value in report.classes if value)
    if not values:
        raise UserError(f"{masks}: the labels hold nothing but the background 0; they must hold 1, 2 ... for classes.")
    classes = list(source.classes) or [f"class {relabel.get(value, value)}" for value in values]
    lowest = min(each.facts.low for each in report.usable if each.facts.low is not None)
    guess: Modality = "CT" if lowest < AIR else "MR"
    told = source.modality is not None
    name = "volume_pairs.VolumePairs"
    called = Noted(classes, "what 1, 2 ... are, in scores and in the segments of DICOM; the same in each part")
    arguments: dict[str, Any] = {"images": str(images.resolve()), "labels": str(masks.resolve()), "classes": called}
    if described:
        name = "decathlon.Decathlon" if isinstance(described, Decathlon) else "nnunet_folder.NnUNetFolder"
        arguments = {"folder": str(input.resolve())}
    elif relabel:
        del arguments["classes"]  # the layout names stored values, of which some are missing
    why = f"the smallest value is {lowest:g}: {'air in HU' if guess == 'CT' else 'no air in HU'}; CT or MR"
    return FoundVolumes(
        report,
        source,
        f"foveal.data.datasets.{name}",
        arguments,
        [each.name for each in cases],
        channels,
        ", ".join(source.channels) or ("files for each volume" if len(cases[0].images) > 1 else "of the files"),
        classes,
        relabel,
        source.modality or guess,
        "as dataset.json says" if told else why,
        ["--input", input] if described else ["--input", images, "--labels", masks],
    )


def _folders(input: Path, labels: Path | None, layout: str) -> tuple[Path, Path]:
    if labels is None:
        if folder_named(input, IMAGES) is None:
            _refuse_dicom(input, layout)
        return find_folder(input, IMAGES, "volumes", layout), find_folder(input, MASKS, "labels", layout)
    if not labels.is_dir():
        raise UserError(f"--labels {labels}: there is no such folder; give that of the label maps.")
    return input, labels


def _refuse_dicom(folder: Path, layout: str) -> None:
    """Refuse DICOM series, which `check` and `infer` read, but a training does not."""
    files = [each for each in folder.rglob("*") if each.is_file()]
    if not any(each.name.lower().endswith(NIFTI) for each in files) and any(map(is_dicom_file, files)):
        source, made = shlex.quote(str(folder)), shlex.quote(f"{folder}_nifti")
        raise UserError(
            f"{folder}: holds DICOM files, but a training reads NIfTI. Write the series and their labels (DICOM "
            "segmentations, or NIfTI by --labels) as such, then begin with that folder:\n"
            f"  foveal volseg convert --input {source} --output {made}\n"
            f"  foveal init volseg {made}"
        )


def _look_at(report: Report, described: Any) -> None:
    """Look as `check` does; gaps between label values are no fault, as the config closes them."""
    look_at(report, described)
    if described is None and _gaps(report):
        report.problems.clear()


def _gaps(report: Report) -> dict[int, int]:
    """Return what stored label values become so that they have no gaps; {} where they have none."""
    values = sorted(report.classes)
    return {value: number for number, value in enumerate(values) if value != number}


def _short(value: Any) -> str:
    return " × ".join(f"{each:.4g}" for each in value) if isinstance(value, list) else str(value)
