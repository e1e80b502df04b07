"""Looking at data before a long run: what a folder holds, what cannot be used, and whether labels fit their images."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core.atomic import written_beside
from ..core.errors import UserError
from ..core.inference.streams import Source
from .fingerprint import Facts, fingerprint, open_item
from .geometry import TOLERANCE_MM, SlideGeometry, VolumeGeometry
from .inventory import Inventory, Item, pair, take_inventory
from .io.formats import KINDS, Kind

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with (checked files, all files)."""


@dataclass
class Finding:
    """What is known of one file.

    Attributes:
        item: the file.
        facts: what it holds; None where it cannot be read.
        label: its labels.
        label_facts: what they hold.
        errors: why the file cannot be used.
        warnings: what should be looked at.
    """

    item: Item
    facts: Facts | None = None
    label: Item | None = None
    label_facts: Facts | None = None
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass
class Report:
    """What a folder holds.

    Attributes:
        input: the folder.
        labels: the folder of labels.
        findings: of every file.
        stray_labels: labels that belong to no file.
        ignored: files of other kinds.
        segmentations: DICOM segmentations beside the files, which are passed over.
        digest: SHA-256 over the names and samples of the usable files and their labels.
        problems: what is wrong with the whole.
        more: what an app tells beside, {title: {name: plain value}}.
    """

    input: Path
    labels: Path | None
    findings: list[Finding]
    stray_labels: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    segmentations: list[str] = field(default_factory=list)
    digest: str = ""
    problems: list[str] = field(default_factory=list)
    more: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def usable(self) -> list[Finding]:
        """The files that can be used."""
        return [each for each in self.findings if not each.errors]

    @property
    def is_good(self) -> bool:
        """Tell whether every file can be used, every label belongs to one, and nothing is wrong with the whole."""
        return len(self.usable) == len(self.findings) and not self.stray_labels and not self.problems

    @property
    def classes(self) -> Counter[int]:
        """Samples of each label value, over all usable files."""
        return sum((each.label_facts.classes for each in self.usable if each.label_facts), Counter())

    def written(self) -> dict[str, Any]:
        """Return the report as values for JSON."""
        samples = self.classes.total()
        return {
            "input": str(self.input),
            "labels": str(self.labels) if self.labels else None,
            "files": len(self.findings),
            "usable": len(self.usable),
            "fingerprint": self.digest,
            "classes": {
                str(value): {"samples": count, "share": count / samples}
                for value, count in sorted(self.classes.items())
            },
            "labels_without_image": self.stray_labels,
            "ignored": self.ignored,
            "segmentations": self.segmentations,
            "problems": self.problems,
            **self.more,
            "items": [_written(each) for each in self.findings],
        }


def check_folder(
    input: Path,
    labels: Path | None = None,
    kinds: tuple[Kind, ...] = KINDS,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    apart: float = 0.0,
) -> Report:
    """Read every file of a folder, and the labels that belong to it, and report.

    A series of DICOM slices is one thing, but where its slices have labels each.

    Args:
        input: a folder, with those in it, or a file.
        labels: the same for the labels, which have the names of the images.
        kinds: the formats to look for.
        options: of the sources, each used by the formats that have it.
        progress: told after each file.
        apart: of the finest spacing, by which the corners of labels of volumes may lie apart from those of the image.

    Raises:
        UserError: a folder is missing or holds nothing of these formats.
    """
    inventory, wanted, stray = _paired(input, labels, kinds)
    findings = []
    for item, label in zip(inventory.items, wanted, strict=True):
        findings.append(_checked(item, label, labels is not None, kinds, options or {}, apart))
        if progress:
            progress(len(findings), len(inventory.items))
    strays = [each.name for each in stray]
    return _compared(Report(input, labels, findings, strays, inventory.ignored, inventory.segmentations))


def _paired(
    input: Path, labels: Path | None, kinds: tuple[Kind, ...], by_slice: bool = False
) -> tuple[Inventory, list[Item | None], list[Item]]:
    """Return what a folder holds, the labels of each item, and the labels that belong to none."""
    inventory = take_inventory(input, kinds, by_slice)
    if labels is None:
        return inventory, [None] * len(inventory.items), []
    wanted, stray = pair(inventory.items, take_inventory(labels, by_slice=by_slice).items)
    if stray and not by_slice:
        slices = _paired(input, labels, kinds, by_slice=True)
        if len(slices[2]) < len(stray):
            return slices
    return inventory, wanted, stray


def check_files(input: Path, names: Sequence[str], kinds: tuple[Kind, ...], progress: Progress | None = None) -> Report:
    """Read some files of a folder, each as a thing of its own, also those of one DICOM series, and report.

    Args:
        input: the folder.
        names: of the files in it.
        kinds: the formats.
        progress: told after each file.
    """
    findings = []
    for name in names:
        findings.append(_checked(Item(input / name, name), None, False, kinds, {}, 0.0))
        if progress:
            progress(len(findings), len(names))
    return _compared(Report(input, None, findings))


def write_report(report: Report, path: Path) -> None:
    """Write a report as JSON.

    Raises:
        OSError: the file cannot be written.
    """
    with written_beside(path) as part:
        text = json.dumps(report.written(), indent=2, ensure_ascii=False, allow_nan=False)
        part.write_text(f"{text}\n", encoding="utf-8")


def _compared(report: Report) -> Report:
    """Return a report after telling of duplicates in it, and with its fingerprint."""
    _tell_duplicates(report.findings)
    report.digest = fingerprint_of(sorted((each.item.name, *_digests(each)) for each in report.usable))
    return report


def fingerprint_of(known: list[tuple[str, ...]]) -> str:
    """Return the SHA-256 of the names and digests of files."""
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def _checked(
    item: Item,
    label: Item | None,
    needs_label: bool,
    kinds: tuple[Kind, ...],
    options: Mapping[str, Any],
    apart: float,
) -> Finding:
    finding = Finding(item, label=label)
    try:
        kind, source = open_item(item, kinds, options)
        with source:
            finding.facts = fingerprint(kind, source)
            if label:
                _check_label(finding, source, apart)
    except Exception as error:  # whatever it is, the other files are still read
        finding.errors.append(_reason(error, item.path))
    if needs_label and not label:
        finding.errors.append("has no labels of its name")
    if finding.facts:
        _warn(finding, finding.facts)
    return finding


def _check_label(finding: Finding, source: Source, apart: float) -> None:
    """Read the labels and hold their geometry against that of their file."""
    label = finding.label
    try:
        kind, labels = open_item(label)
        with labels:
            finding.label_facts = fingerprint(kind, labels, as_labels=True)
            difference = _difference(source, labels, apart)
    except Exception as error:
        finding.errors.append(f"labels: {_reason(error, label.path)}")
        return
    if difference:
        finding.errors.append(f"labels of another geometry: {difference}")


def _difference(source: Source, labels: Source, apart: float) -> str | None:
    """Say in which way labels lie elsewhere than their image, or None."""
    if isinstance(source.geometry, VolumeGeometry) and isinstance(labels.geometry, VolumeGeometry):
        tolerance = max(TOLERANCE_MM, apart * min(source.geometry.spacing_mm))
        return source.geometry.difference(labels.geometry, tolerance)
    if type(source.geometry) is type(labels.geometry) and source.geometry is not None:
        return source.geometry.difference(labels.geometry)
    extents = [tuple(each.shape[-each.spatial :]) for each in (source, labels)]
    if isinstance(source.geometry, SlideGeometry):
        extents[0] = source.geometry.level0_shape
    if extents[0] == extents[1]:
        return None
    return " against ".join(times(extent) for extent in extents) + " samples"


def _warn(finding: Finding, facts: Facts) -> None:
    if facts.low is None:
        finding.warnings.append("no sample counts: all are nodata or not finite")
    elif facts.is_nearly_empty:
        finding.warnings.append("nearly empty: less than 1% of the samples differ from the background")
    elif facts.invalid and facts.kind != "geotiff":
        finding.warnings.append("some samples are not finite (NaN or infinite)")
    labels = finding.label_facts
    if labels and Path(finding.label.path).suffix.lower() in (".jpg", ".jpeg") and len(labels.classes) > 2:
        finding.warnings.append("labels blurred by JPEG: two classes are cut at 128, write more as PNG")


def _tell_duplicates(findings: list[Finding]) -> None:
    """Warn of files that hold the same samples as an earlier one."""
    first: dict[str, str] = {}
    for each in findings:
        if each.facts and each.facts.low is not None:
            name = first.setdefault(each.facts.digest, each.item.name)
            if name != each.item.name:
                each.warnings.append(f"the same samples as {name}")


def _digests(finding: Finding) -> Iterator[str]:
    yield finding.facts.digest
    if finding.label_facts:
        yield finding.label_facts.digest


def _reason(error: Exception, path: Path) -> str:
    """Return an error in one line without the path, which is told beside it."""
    if not isinstance(error, (UserError, OSError)):
        logger.error("%s: unexpected error", path, exc_info=error)
    text = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return " ".join(text.split()).removeprefix(f"{path}: ").removeprefix("the file ")


def times(sizes: tuple[int, ...]) -> str:
    """Return sizes along axes from the last to the first, as images are spoken of: width × height × depth."""
    return " × ".join(map(str, reversed(sizes)))


def _written(finding: Finding) -> dict[str, Any]:
    facts = finding.facts
    return {
        "name": finding.item.name,
        "usable": not finding.errors,
        "errors": finding.errors,
        "warnings": finding.warnings,
        **(_facts_written(facts) if facts else {}),
        "label": finding.label.name if finding.label else None,
        "classes": {str(v): n for v, n in sorted(finding.label_facts.classes.items())} if finding.label_facts else None,
    }


def _facts_written(facts: Facts) -> dict[str, Any]:
    values = asdict(facts)
    del values["classes"]
    return values
