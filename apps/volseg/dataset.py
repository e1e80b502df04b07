"""What `check` looks at beside the files themselves: whether volumes and label maps can be trained on together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...data.checks import Finding, Report
from ...data.datasets.dataset_json import FILE, DescribedFolder, read_dataset_json
from ...data.datasets.decathlon import Decathlon
from ...data.datasets.nnunet_folder import NnUNetFolder
from ...data.datasets.volume_case import VolumeCase
from ...data.init_folders import IMAGES, MASKS, folder_named
from ...data.inventory import CHANNEL
from ...data.volume_channels import open_volume
from ...data.volume_checks import VolumeFacts, check_spacing, check_volume
from ...data.volume_plan import PERCENTILES, median_shape, orientation_of, target_spacing

PLAN = "a training would be planned by"


def parts_of(folder: Path, labels: Path | None) -> tuple[Path, Path | None, DescribedFolder | None]:
    """Return the folder of the volumes, that of the label maps, and the layout where the folder describes itself.

    A folder that holds one of each by their usual names is taken apart without being told.

    Raises:
        UserError: `dataset.json` is no JSON object.
    """
    if not (folder / FILE).is_file():
        images, masks = (folder_named(folder, each) if folder.is_dir() else None for each in (IMAGES, MASKS))
        return (images, masks, None) if labels is None and images and masks else (folder, labels, None)
    layout = (Decathlon if "training" in read_dataset_json(folder) else NnUNetFolder)(folder)
    images, own = folder / "imagesTr", folder / "labelsTr"
    return (images if images.is_dir() else folder), labels or (own if own.is_dir() else None), layout


def look_at(report: Report, layout: DescribedFolder | None) -> None:
    """Add to a report what hinders a training, and what it would be planned by.

    Args:
        report: of the files.
        layout: says the classes and channels; None where nothing does.
    """
    names, channels = _described(report, layout)
    if report.labels is None:
        for finding in report.usable:
            _look_at_volume(finding)
        return
    classes = 1 + len(names) if names else 1 + max(report.classes, default=0)
    cases = _cases(report.findings)
    channels = channels or max((len(each) for each in cases.values()), default=1)
    facts = [_looked_at(name, findings, channels, classes) for name, findings in cases.items()]
    known = [each for each in facts if each]
    if known:
        _look_at_classes(report, names, np.sum([each.counts for each in known], axis=0))
        report.more[PLAN] = _plan(known)


def _described(report: Report, layout: DescribedFolder | None) -> tuple[Sequence[str], int]:
    """Return the names of the classes but the background and the number of channels; () and 0 where nothing tells."""
    if layout is None:
        return (), 0
    try:
        layout.cases()
        return layout.classes, len(layout.channels)
    except UserError as error:
        report.problems.append(str(error))
        return (), 0


def _look_at_volume(finding: Finding) -> None:
    """Add what is wrong with a volume that has no labels."""
    facts = finding.facts
    if facts.spatial != 3 or min(facts.extent) < 2:
        finding.errors.append("is a single slice, not a volume")
    elif facts.invalid:
        finding.errors.append("some voxels are no finite numbers (NaN or infinite)")
    elif facts.low == facts.high:
        finding.errors.append(f"all voxels have the value {facts.low:g}")
    elif facts.kind == "nifti":
        with open_volume([finding.item.path]) as source:
            _tell(finding, lambda: check_spacing([finding.item.path], source))


def _cases(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Return the files of each case whose labels are known, one for each channel."""
    cases: dict[str, list[Finding]] = {}
    for each in findings:
        if each.label:
            name = each.item.stem
            alone = Path(each.label.stem).name == Path(name).name
            cases.setdefault(name if alone else CHANNEL.sub("", name), []).append(each)
    return cases


def _looked_at(name: str, findings: list[Finding], channels: int, classes: int) -> VolumeFacts | None:
    """Return what is known of a case; add to its first file what is wrong with it, and return None."""
    if any(each.errors for each in findings):
        return None
    images = tuple(each.item.path for each in findings)
    case = VolumeCase(name, images, findings[0].label.path, name)
    return _tell(findings[0], lambda: check_volume(case, channels, classes))


def _tell(finding: Finding, look: Any) -> Any:
    """Return what a function gives; where it finds a fault, add that to the file."""
    try:
        return look()
    except UserError as error:
        finding.errors.append(str(error))
        return None


def _look_at_classes(report: Report, names: Sequence[str], counts: np.ndarray) -> None:
    """Tell of classes that no label map holds."""
    for value in np.flatnonzero(counts == 0):
        if names:
            report.problems.append(f"no label map holds the class {value} ({names[value - 1]})")
        else:
            report.problems.append(
                f"label values have a gap: {value} is nowhere, {len(counts) - 1} is; close it by data.relabel"
            )


def _plan(facts: Sequence[VolumeFacts]) -> dict[str, Any]:
    """Return what a plan is made of, but for what depends on the network; along (D, H, W), values as in the files."""
    orientation = orientation_of(facts)
    spacing = target_spacing(facts, orientation)
    found = {
        "cases": len(facts),
        "axes": orientation,
        "spacing in mm": list(spacing),
        "median size": list(median_shape(facts, orientation, spacing)),
    }
    samples = np.concatenate([each.samples for each in facts], axis=1).astype(np.float64)
    if not samples.size:
        return found
    low, high = np.percentile(samples, PERCENTILES, axis=1)
    return found | {
        "objects, 0.5th percentile": low.round(4).tolist(),
        "objects, 99.5th percentile": high.round(4).tolist(),
        "objects, mean": samples.mean(axis=1).round(4).tolist(),
        "objects, deviation": samples.std(axis=1).round(4).tolist(),
    }
