"""What hinders a training on slides: in the slides, in their features, and in the table of their labels."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from ...core.errors import UserError
from ...data.checks import Finding, Progress, Report, check_folder, fingerprint_of, times
from ...data.datasets.feature_bags import FeatureBags, stem_of
from ...data.datasets.label_table import read_lines
from ...data.inventory import Item
from ...data.io.features import Features, read_features
from ...data.io.slide import SlideSource
from .feature_facts import FACTS, alike, unfinite
from .slides import slide_name

PLACES = 8  # of a level that are read, along each side
BLOCK = 256  # pixels along a side of a place


class Line(NamedTuple):
    """A line of the table."""

    number: int
    slide: str
    label: str
    patient: str
    part: str


@dataclass(frozen=True)
class Table:
    """The labels of slides.

    Attributes:
        path: the CSV file.
        lines: all of it, as they are.
    """

    path: Path
    lines: list[Line]

    @classmethod
    def read(cls, path: Path, slide: str, label: str, patient: str, part: str) -> Table:
        """Read the table, given the names of its columns; patient and part may be missing.

        Raises:
            UserError: it is missing, no CSV, or lacks a column.
        """
        rows = read_lines(path, [slide, label])
        texts = ([(row.get(column) or "").strip() for column in (slide, label, patient, part)] for row in rows)
        return cls(path, [Line(number, stem_of(first), *others) for number, (first, *others) in enumerate(texts, 2)])


def check_dataset(
    slides: Path | None, features: Path | None, table: Table | None, slide_mpp: float | None, tell: Progress
) -> Report:
    """Look at slides, features and labels.

    Args:
        slides: a folder or a slide.
        features: a folder, or a file of groups.
        table: the labels.
        slide_mpp: micrometres per pixel of the finest level of slides that do not tell.
        tell: is told how many files are done.

    Raises:
        UserError: there are no slides or features.
    """
    options = {"slide_mpp": slide_mpp}
    report = check_folder(slides, None, ("slide",), options, tell) if slides else Report(features, None, [])
    of_slides = list(report.findings)
    for finding in report.usable:
        _look_at_slide(finding, slide_mpp)
    of_features = _look_at_features(report, features, tell) if features else []
    named = {slide_name(each.item.path): each for each in of_slides}
    bags = {each.item.name: each for each in of_features}
    if slides and features:
        _tell_missing(named, bags, f"has no features in {features}")
        _tell_missing(bags, named, f"has no slide in {slides}")
    if table:
        report.labels = table.path
        _look_at_labels(report, table, bags | named)
    return report


def _look_at_slide(finding: Finding, slide_mpp: float | None) -> None:
    """Add what is wrong with a slide whose overview can be read."""
    if finding.facts.content == 0:
        finding.errors.append("no tissue was found; draw it in QuPath and give it to tile or features by --tissue")
    with SlideSource(finding.item.path, slide_mpp=slide_mpp) as source:
        if (problem := _damage(source)) is not None:
            finding.errors.append(problem)


def _damage(source: SlideSource) -> str | None:
    """Read places all over every level; return why that does not go for the first where it does not.

    OpenSlide reads nothing more of a slide once it met an error.
    """
    for level, (height, width) in enumerate(source.levels.sizes):
        try:
            for top in _spread(height):
                for left in _spread(width):
                    source.levels.pixels(level, top, left, min(BLOCK, height - top), min(BLOCK, width - left))
        except UserError as error:
            return f"level {level} ({times((height, width))}): {str(error).removeprefix(f'{source.path}: ')}"
    return None


def _spread(length: int) -> list[int]:
    """Return where places begin along an axis, the first and the last included."""
    blocks = -(-length // BLOCK)
    count = min(blocks, PLACES)
    return [BLOCK * round(number * (blocks - 1) / max(count - 1, 1)) for number in range(count)]


def _look_at_features(report: Report, features: Path, tell: Progress) -> list[Finding]:
    """Add a finding for the features of every slide, and what they have in common."""
    members = FeatureBags(features).slides()
    findings, facts, known = [], [], []
    for name, (path, group) in members.items():
        finding = Finding(Item(path, name))
        found = _read(finding, group)
        findings.append(finding)
        if found:
            facts.append((finding, _facts(found)))
            known.append((name, hashlib.sha256(found.values.tobytes()).hexdigest()))
        tell(len(findings), len(members))
    _tell_differences(facts)
    _tell_copies(known, {each.item.name: each for each in findings})
    report.findings += findings
    report.digest = fingerprint_of([("slides", report.digest), *sorted(known)])
    if facts:
        report.more["features"] = _summary([each for _, each in facts])
    return findings


def _read(finding: Finding, group: str) -> Features | None:
    """Return the features of a slide; add to the finding what is wrong with them."""
    path = finding.item.path
    try:
        found = read_features(path, group)
    except UserError as error:
        finding.errors.append(str(error).removeprefix(f"{path}: "))
        return None
    if (problem := unfinite(found.values)) is not None:
        finding.errors.append(problem)
    if len(found.values) == 1:
        finding.warnings.append("a bag of one tile")
    return found


def _facts(found: Features) -> dict[str, Any]:
    told = {name: found.facts[name] for name in FACTS if name in found.facts}
    return {"tiles": len(found.values), "channels": found.values.shape[1]} | told


def _tell_differences(facts: Sequence[tuple[Finding, dict[str, Any]]]) -> None:
    """Add to findings in what they differ from most others."""
    for name in ("channels", *FACTS):
        values = [each.get(name) for _, each in facts]
        for finding, value in zip((finding for finding, _ in facts), values, strict=True):
            usual = Counter(values).most_common(1)[0][0]
            if not alike(value, usual):
                finding.errors.append(f"features of {name} {value}, but most are of {usual}; all must be made alike")


def _tell_copies(known: Sequence[tuple[str, str]], findings: dict[str, Finding]) -> None:
    first: dict[str, str] = {}
    for name, digest in known:
        if first.setdefault(digest, name) != name:
            findings[name].warnings.append(f"the same features as {first[digest]}")


def _summary(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    tiles = [each["tiles"] for each in facts]
    common = {name: Counter(each.get(name) for each in facts).most_common(1)[0][0] for name in ("channels", *FACTS)}
    counts = {"bags": len(facts), "tiles": f"{min(tiles)} to {max(tiles)}, median {median(tiles):g}"}
    return counts | {name: value for name, value in common.items() if value is not None}


def _tell_missing(members: dict[str, Finding], others: dict[str, Finding], text: str) -> None:
    for name in members.keys() - others.keys():
        members[name].warnings.append(text)


def _look_at_labels(report: Report, table: Table, findings: dict[str, Finding]) -> None:
    """Add where labels do not fit slides, and how many there are of each class and part."""
    report.problems += _table_problems(table.lines)
    listed = {each.slide for each in table.lines}
    report.stray_labels = sorted(listed - findings.keys() - {""})
    for name in findings.keys() - listed:
        findings[name].errors.append(f"has no label in {table.path.name}")
    used = [each for each in table.lines if each.label and each.slide in findings]
    report.more["labels"] = dict(Counter(each.label for each in used).most_common())
    if any(each.part for each in used):
        parts = sorted({each.part for each in used})
        report.more["parts"] = {part or "none": _told([each for each in used if each.part == part]) for part in parts}


def _told(lines: Sequence[Line]) -> str:
    """Return how many slides, patients, and slides of each class there are."""
    patients = {each.patient for each in lines if each.patient}
    classes = Counter(each.label for each in lines)
    known = f" of {len(patients)} patients" if patients else ""
    return f"{len(lines)} slides{known}: {', '.join(f'{count} {label}' for label, count in sorted(classes.items()))}"


def _table_problems(lines: Sequence[Line]) -> Iterator[str]:
    """Yield what is wrong with the table itself."""
    first: dict[str, int] = {}
    parts: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        if not line.slide or not line.label:
            yield f"labels, line {line.number}: the {'label' if line.slide else 'slide'} is missing"
        elif first.setdefault(line.slide, line.number) != line.number:
            yield f"labels, line {line.number}: {line.slide} is listed already in line {first[line.slide]}"
        if line.patient and line.part:
            parts[line.patient].add(line.part)
    shared = {patient: sorted(each) for patient, each in sorted(parts.items()) if len(each) > 1}
    for patient, each in shared.items():
        yield f"labels: the patient {patient} is in the parts {' and '.join(each)}; keep each patient in one"
