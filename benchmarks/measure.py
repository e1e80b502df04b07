"""What the benchmarks share: time and peak memory of a call, two forms compared in one run, the command, the record."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foveal.core.bench.measure import CLOCK as CLOCK
from foveal.core.bench.measure import UNIT, in_fresh_python, machine, medians, peak_megabytes
from foveal.core.bench.measure import status_megabytes as status_megabytes

RESULTS = Path(__file__).with_name("RESULTS.md")


Forms = tuple[Callable[[], Tensor], Callable[[], Tensor]]
"""The plain form and ours, without arguments, each giving what both must agree on."""
Rows = Mapping[str, Callable[[], Forms]]
"""What makes the forms of each row of a table; its docstring says what they do."""
FORMS_HEAD = f"| what | plain {UNIT} | ours {UNIT} | faster | plain MB | ours MB | memory | difference |"


def run(
    doc: str | None,
    title: str,
    head: str,
    rows: Iterable[str],
    compared: Callable[[str], str],
    measured: Callable[..., object],
) -> None:
    """Measure the rows that the command line asks for, all by default, and record the table.

    Args:
        doc: what `--help` says.
        title: of the table.
        head: of the table.
        rows: their names.
        compared: measures a row and returns its line.
        measured: does, in a process of its own, what `in_fresh_process` hands it as words; returns plain values.
    """
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(rows)}; all by default")
    parser.add_argument("--peak", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(json.dumps(measured(*options.peak)))
        return
    lines = [compared(row) for row in options.rows or rows]
    record(title, [head, "|" + " --- |" * (head.count("|") - 1), *lines])


def run_forms(
    script: str, doc: str | None, title: str, rows: Rows, checked: Rows | None = None, limit: float = 1e-4
) -> None:
    """Run a benchmark of which every row is `compare_forms`."""
    compared = partial(compare_forms, script, rows, checked or rows, limit)
    run(doc, title, FORMS_HEAD, rows, compared, partial(form_megabytes, rows))


def compare_forms(script: str, rows: Rows, checked: Rows, limit: float, name: str) -> str:
    """Hold the two forms of a row together, measure them and return the line of the table.

    Args:
        script: the benchmark's file, whose `--peak ROW FORM` gives `form_megabytes`.
        rows: of which the row is measured.
        checked: of which the row is held together: the same, or smaller or of higher precision; a row that is not among
            them has two forms of which neither gives what the other does.
        limit: of the relative difference.
        name: of the row.
    """
    torch.manual_seed(0)
    difference = _difference(*checked[name](), limit) if name in checked else "-"
    slow, fast = medians([*rows[name]()])
    large, small = (in_fresh_process(script, name, form) for form in ("plain", "ours"))
    what = (rows[name].__doc__ or "").rstrip(".")
    return (
        f"| {what} | {1e3 * slow:.0f} | {1e3 * fast:.0f} | {slow / fast:.2f}x "
        f"| {large:.0f} | {small:.0f} | {small / large:.2f}x | {difference} |"
    )


def _difference(plain: Callable[[], Tensor], ours: Callable[[], Tensor], limit: float) -> str:
    expected, found = plain(), ours()
    difference = float((found - expected).norm() / expected.norm())
    assert difference < limit, f"the two forms differ by {difference:.1e}"
    return f"{difference:.0e}"


def form_megabytes(rows: Rows, name: str, form: str) -> float:
    """Return the peak memory of one form of a row."""
    torch.manual_seed(0)
    return peak_megabytes(rows[name]()[form == "ours"])


def in_fresh_process(script: str, *arguments: str) -> Any:
    """Run `script --peak ARGUMENTS...` in a process of its own and return what its last line says in JSON."""
    return in_fresh_python(script, "--peak", *arguments)


def record(title: str, lines: list[str]) -> None:
    """Print a section of results with today's date and this machine, and append it to benchmarks/RESULTS.md."""
    text = "\n".join([f"## {title}, {date.today()}", "", machine(), "", *lines]) + "\n"
    print(text)
    with RESULTS.open("a") as file:
        file.write("\n" + text)


def fill(title: str, text: str) -> None:
    """Put a section with today's date into benchmarks/RESULTS.md, where its title stands as not yet measured if any."""
    page, section = RESULTS.read_text(), f"## {title}, {date.today()}\n\n{text}"
    empty = re.compile(rf"^## {re.escape(title)}: not yet measured\n.*?(?=\n## |\Z)", re.MULTILINE | re.DOTALL)
    filled, count = empty.subn(lambda _: section, page)
    RESULTS.write_text(filled if count else f"{page}\n{section}")
