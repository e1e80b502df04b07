"""The table that `check` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ..core.messages import counted
from .checks import Finding, Report
from .fingerprint import Facts

NAMES = {"image": "image", "dicom": "DICOM", "nifti": "NIfTI", "geotiff": "GeoTIFF", "slide": "slide"}
COLOURS = {1: "grey", 3: "RGB"}
MOST_LINES = 12  # of a list that may be long; the JSON report has all
MOST_NAMES = 4
MOST_ROWS = 20  # more classes are instances, or no labels at all; of them the FEW most frequent are shown
FEW = 8
BAR = 24  # columns
EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


def print_report(report: Report, console: Console | None = None) -> None:
    """Print a report on standard output, as wide as the terminal."""
    (console or Console(highlight=False)).print(_rendered(report))


def _rendered(report: Report) -> Group:
    sections: list[tuple[str, Table]] = []
    facts = [each.facts for each in report.findings if each.facts]
    if facts:
        sections.append(("contents", _contents(facts)))
    folders = Counter(_folder(each, report) for each in report.findings)
    if len(folders) > 1:
        sections.append(("folders", _folders(folders)))
    if report.classes:
        sections.append(("labels", _classes(report)))
    sections += [(title, _facts(values)) for title, values in report.more.items()]
    sections += [(title, _listed(lines, style)) for title, style, lines in _lists(report)]
    bodies = ((Rule(title, align="left", style="dim"), Padding(body, (0, 0, 1, 0))) for title, body in sections)
    return Group(Padding(_head(report), (0, 0, 1, 0)), *chain.from_iterable(bodies), _foot(report))


def _folder(finding: Finding, report: Report) -> str:
    return report.input.name if finding.item.folder == "." else finding.item.folder


def _head(report: Report) -> Text:
    unusable = len(report.findings) - len(report.usable)
    text = Text.assemble((str(report.input), "bold"), overflow="fold")
    if report.labels:
        text.append(f"\nlabels {report.labels}")
    text.append(f"\n{counted(len(report.findings), 'file')}, ")
    text.append(f"{len(report.usable)} usable", "green" if report.usable else "red")
    if unusable:
        text.append(f", {unusable} not", "bold red")
    warned = sum(bool(each.warnings) for each in report.findings)
    if warned:
        text.append(f", {warned} to look at", "yellow")
    return text


def _contents(facts: Sequence[Facts]) -> Table:
    """Describe files of one kind and type together."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("files", justify="right", no_wrap=True)
    for name in ("format", "type", "size (w × h × d)", "spacing", "values"):
        table.add_column(name, overflow="fold")
    groups: dict[tuple[str, ...], list[Facts]] = {}
    for each in facts:
        groups.setdefault((each.kind, each.dtype, _colour(each), each.unit, str(each.spatial)), []).append(each)
    for (kind, dtype, colour, *_), members in sorted(groups.items(), key=lambda pair: -len(pair[1])):
        table.add_row(
            str(len(members)),
            NAMES[kind],
            f"{dtype} {colour}".strip(),
            _ranges([each.extent for each in members]),
            _spacing(members),
            _values(members),
        )
    return table


def _colour(facts: Facts) -> str:
    if facts.kind in ("image", "slide"):
        return COLOURS.get(facts.channels, "")
    return "" if facts.channels == 1 else f"× {facts.channels}"


def _values(members: Sequence[Facts]) -> str:
    known = [each for each in members if each.low is not None]
    return _span(min(each.low for each in known), max(each.high for each in known)) if known else "none"


def _ranges(sizes: Sequence[Sequence[float]]) -> str:
    """Return the ranges of sizes along each axis, from the last axis to the first."""
    return " × ".join(_span(min(axis), max(axis)) for axis in reversed(list(zip(*sizes, strict=True))))


def _spacing(members: Sequence[Facts]) -> str:
    """Return the spacing, once where it is the same along all axes."""
    text = _ranges([each.spacing for each in members])
    first, *others = text.split(" × ")
    return f"{first if others == [first] * len(others) else text} {members[0].unit}" if text else "[dim]none[/]"


def _span(low: float, high: float) -> str:
    first, second = _number(low), _number(high)
    if first == second:
        return first
    return f"{first} to {second}" if low < 0 else f"{first}–{second}"


def _number(value: float) -> str:
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:.0f}" if abs(value) < 1e7 else f"{value:.3g}"
    return f"{value:.3g}"


def _classes(report: Report) -> Table:
    counts = report.classes
    files = Counter(chain.from_iterable(each.label_facts.classes for each in report.usable if each.label_facts))
    shown = sorted(counts) if len(counts) <= MOST_ROWS else [each for each, _ in counts.most_common(FEW)]
    rows = [(str(value), counts[value], str(files[value])) for value in shown]
    return _bars(rows, ("label", "samples", "in files"), counts.total(), len(counts))


def _folders(counts: Counter[str]) -> Table:
    rows = [(name, count, "") for name, count in counts.most_common(MOST_ROWS)]
    return _bars(rows, ("folder", "files", ""), counts.total(), len(counts))


def _bars(rows: Sequence[tuple[str, int, str]], names: tuple[str, str, str], total: int, number: int) -> Table:
    """Return counts with their shares as bars.

    Args:
        rows: name, count and what else is known of each.
        names: of these three.
        total: of the counts, those not shown included.
        number: of the rows, those not shown included.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(names[0], overflow="fold")
    for name in (names[1], "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column(names[2], justify="right", no_wrap=True)
    for name, count, more in rows:
        table.add_row(escape(name), f"{count:,}", _percent(count / total), f"[cyan]{_bar(count / total)}[/]", more)
    if number > len(rows):
        table.add_row(f"[dim]and {number - len(rows)} more[/]")
    return table


def _bar(share: float) -> str:
    whole, part = divmod(max(round(8 * BAR * share), 1), 8)
    return "█" * whole + EIGHTHS[part]


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "< 0.1%"


def _facts(values: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        shown = ", ".join(map(_told, value)) if isinstance(value, (list, tuple)) else _told(value)
        table.add_row(escape(name), escape(shown))
    return table


def _told(value: object) -> str:
    return _number(value) if isinstance(value, float) else str(value)


def _lists(report: Report) -> Iterable[tuple[str, str, list[tuple[str, str]]]]:
    """Give title, colour and lines (name, text) of what is wrong and what should be looked at."""
    errors = [(each.item.name, text) for each in report.findings for text in each.errors]
    errors += [(name, "labels that belong to no file") for name in report.stray_labels]
    errors += [(report.input.name, text) for text in report.problems]
    warnings = [(each.item.name, text) for each in report.findings for text in each.warnings]
    if errors:
        yield "cannot be used", "red", errors
    if warnings:
        yield "look at", "yellow", warnings


def _listed(lines: Sequence[tuple[str, str]], style: str) -> Table:
    """Return each text once, with the files that it is about."""
    files: dict[str, list[str]] = {}
    for name, text in lines:
        files.setdefault(text, []).append(name)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for text, names in list(files.items())[:MOST_LINES]:
        more = f"\nand {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        shown = escape("\n".join(names[:MOST_NAMES])) + f"[dim]{more}[/]"
        table.add_row(str(len(names)), Group(Text(text, style=style), Padding(shown, (0, 0, 0, 2))))
    if len(files) > MOST_LINES:
        table.add_row("...", f"{len(files) - MOST_LINES} more; --json FILE writes them all")
    return table


def _foot(report: Report) -> Text:
    parts = [f"fingerprint {report.digest[:16]}"] if report.usable else []
    if report.segmentations:
        parts.append(f"{counted(len(report.segmentations), 'DICOM segmentation')}, labels of these, passed over")
    if report.ignored:
        parts.append(f"{counted(len(report.ignored), 'file')} of other kinds passed over")
    return Text("; ".join(parts), style="dim")
