"""What the benchmarks share: time and peak memory of a call, two forms compared in one run, the command, the record."""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from foveal.core.bench.measure import CLOCK as CLOCK
from foveal.core.bench.measure import UNIT, in_fresh_python, machine, medians, peak_megabytes
from foveal.core.bench.measure import status_megabytes as status_megabytes
from foveal.core.weights.card import Card
from foveal.kernels import use_backend

RESULTS = Path(__file__).with_name("RESULTS.md")


Found = Tensor | tuple[Tensor, ...]
Forms = tuple[Callable[[], Found], Callable[[], Found]]
"""The plain form and ours, without arguments, each giving what both must agree on."""
Rows = Mapping[str, Callable[[], Forms]]
"""What makes the forms of each row of a table; its docstring says what they do."""
SHORT = 1.0
"""Seconds for which forms that take less are repeated."""
FORMS_HEAD = "| what | plain ms | ours ms | faster | plain MB | ours MB | memory | difference |"


class Table(NamedTuple):
    """A table that is measured row by row.

    Attributes:
        title: of the section.
        head: of the table.
        rows: names of the rows.
        compared: measures a row and returns its lines.
        measured: does, in a process of its own, what `in_fresh_process` hands it as words, the row first; returns plain
            values.
        note: what stands below the table.
        named: how many columns, from the first, tell its lines apart.
    """

    title: str
    head: str
    rows: Iterable[str]
    compared: Callable[[str], str]
    measured: Callable[..., object]
    note: str = ""
    named: int = 1


def run_app(doc: str | None, quality: Table, speed: Table, limits: Table) -> None:
    """Measure one of the three tables of an app, as the command line asks.

    No two of their rows have one name.
    """
    tables = {"quality": quality, "speed": speed, "limits": limits}
    about = [f"  {name}: {', '.join(table.rows)}" for name, table in tables.items()]
    parser = argparse.ArgumentParser(
        description=doc,
        epilog="\n".join(["rows, all by default:", *about]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", nargs="?", choices=tables)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="alone these, see below")
    parser.add_argument("--peak", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        table = next(each for each in tables.values() if options.peak[0] in each.rows)
        print(json.dumps(table.measured(*options.peak)))
    elif options.table is None:
        parser.error("give quality, speed or limits")
    else:
        _measure(tables[options.table], options.rows, parser)


def run(doc: str | None, table: Table) -> None:
    """Measure the rows of a table that the command line asks for, all by default."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(table.rows)}; all by default")
    parser.add_argument("--peak", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(json.dumps(table.measured(*options.peak)))
    else:
        _measure(table, options.rows, parser)


def _measure(table: Table, asked: list[str], parser: argparse.ArgumentParser) -> None:
    """Measure and record the rows asked for."""
    for row in asked:
        if row not in table.rows:
            parser.error(f"no row {row}; there are {', '.join(table.rows)}")
    lines = []
    for row in asked or table.rows:
        lines += table.compared(row).splitlines()
        print(f"{row} is measured", file=sys.stderr)
    head = [table.head, "|" + " --- |" * (table.head.count("|") - 1)]
    note = ["", textwrap.fill(table.note, 120)] if table.note else []
    if asked:
        record_part(table.title, head, lines, note, table.named)
    else:
        record(table.title, [*head, *lines, *note])


def run_forms(
    script: str | None, doc: str | None, title: str, rows: Rows, checked: Rows | None = None, limit: float = 1e-4
) -> None:
    """Run a benchmark of which every row is `compare_forms`."""
    run(doc, forms_table(script, title, rows, checked, limit))


def forms_table(script: str | None, title: str, rows: Rows, checked: Rows | None = None, limit: float = 1e-4) -> Table:
    """Return the table of which every row is `compare_forms`."""
    compared = partial(compare_forms, script, rows, checked or rows, limit)
    return Table(title, FORMS_HEAD, rows, compared, partial(form_megabytes, rows))


def card_of(**facts: object) -> Card:
    """Return the card of what is made for a benchmark, with facts of its own."""
    return Card(**{"name": "benchmark", "app": "benchmark", "network": {"class_path": "benchmark"}} | facts)


def in_use(plain: Callable[..., Found], ours: Callable[..., Found], *inputs: Tensor) -> Forms:
    """Return both forms of a pass over inputs, without gradients."""
    inference = torch.inference_mode()
    return inference(lambda: plain(*inputs)), inference(lambda: ours(*inputs))


def in_training(net: nn.Module, plain: Callable[[], Tensor], ours: Callable[[], Tensor]) -> Forms:
    """Return both forms of a training step, of which the loss is given; they give the gradients of a network."""

    def step(loss: Callable[[], Tensor]) -> Tensor:
        net.zero_grad()
        loss().backward()
        return torch.cat([each.grad.flatten() for each in net.parameters() if each.grad is not None])

    return lambda: step(plain), lambda: step(ours)


def compare_forms(script: str | None, rows: Rows, checked: Rows, limit: float, name: str) -> str:
    """Hold the two forms of a row together, measure them and return the line of the table.

    Args:
        script: the benchmark's file, whose `--peak ROW FORM` gives `form_megabytes`; None for many small rows, whose
            memory is then measured in this process.
        rows: of which the row is measured.
        checked: of which the row is held together: the same, or smaller or of higher precision; a row that is not among
            them has two forms of which neither gives what the other does.
        limit: of the relative difference.
        name: of the row.
    """
    torch.manual_seed(0)
    difference = _difference(*_forms(checked, name), limit) if name in checked else "-"
    forms = _forms(rows, name)
    slow, fast = medians([*forms], 1)
    if slow + fast < SHORT:
        slow, fast = medians([*forms], min(50, int(SHORT / (slow + fast))))
    else:
        slow, fast = medians([*forms])
    large, small = (
        in_fresh_process(script, name, form) if script else own_megabytes(call)
        for form, call in zip(("plain", "ours"), forms, strict=True)
    )
    what = (rows[name].__doc__ or "").rstrip(".")
    return (
        f"| {what} | {_ms(slow)} | {_ms(fast)} | {slow / fast:.2f}x "
        f"| {large:.0f} | {small:.0f} | {small / large:.2f}x | {difference} |"
    )


def _forms(rows: Rows, name: str) -> Forms:
    """Return the forms of a row; the layers that the plain form has of ours compute as PyTorch's own do."""
    plain, ours = rows[name]()

    def plainly() -> Found:
        with use_backend("reference"):
            return plain()

    return plainly, ours


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.0f}" if seconds >= 0.0095 else f"{1e3 * seconds:.1f}"


def _difference(plain: Callable[[], Found], ours: Callable[[], Found], limit: float) -> str:
    expected, found = (
        each if isinstance(each, Tensor) else torch.cat([part.flatten() for part in each]) for each in (plain(), ours())
    )
    difference = float((found - expected).norm() / expected.norm())
    assert difference < limit, f"the two forms differ by {difference:.1e}"
    return f"{difference:.0e}"


def form_megabytes(rows: Rows, name: str, form: str) -> float:
    """Return the peak memory of one form of a row."""
    torch.manual_seed(0)
    return peak_megabytes(_forms(rows, name)[form == "ours"])


def own_megabytes(call: Callable[[], object]) -> float:
    """Return the peak memory of a call that was made before, once this process has given back what it holds (glibc)."""
    ctypes.CDLL(None).malloc_trim(0)
    return peak_megabytes(call)


def in_fresh_process(script: str, *arguments: str) -> Any:
    """Run `script --peak ARGUMENTS...` in a process of its own and return what its last line says in JSON."""
    return in_fresh_python(script, "--peak", *arguments)


def record(title: str, lines: list[str]) -> None:
    """Print a section of results with its command and this machine, and put it into benchmarks/RESULTS.md."""
    text = "\n".join([_circumstances(), "", *lines]) + "\n"
    print(text)
    fill(title, text)


def record_part(title: str, head: list[str], lines: list[str], rest: list[str], named: int = 1) -> None:
    """Print some rows of a table, and put them into its section where that was measured today on this machine.

    Args:
        title: of the section.
        head: the two lines that the table begins with.
        lines: the rows.
        rest: what follows the table.
        named: how many columns, from the first, tell the rows apart.
    """
    print("\n".join([*head, *lines]))
    page, today = RESULTS.read_text(), f"## {title}, {date.today()}\n"
    section = page.partition(today)[2].partition("\n## ")[0]
    if _machine() not in section or "\n".join(head) not in section:
        print("Not recorded, as the other rows are of another day or machine: measure them all.", file=sys.stderr)
        return
    table = section.partition("\n".join(head) + "\n")[2].partition("\n\n")[0].splitlines()
    for line in lines:
        name = line.split(" | ")[:named]
        place = next((i for i, each in enumerate(table) if each.split(" | ")[:named] == name), len(table))
        table[place : place + 1] = [line]
    command = section.strip().partition("\n")[0]
    fill(title, "\n".join([command, "", *head, *table, *rest]) + "\n")


def _circumstances() -> str:
    """Return the command and the machine."""
    words = ["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]
    return f"`{' '.join(words)}`; {_machine()}"


def _machine() -> str:
    """Return the machine and what is measured as time."""
    return machine() + (", processor time" if UNIT.startswith("processor") else "")


def fill(title: str, text: str) -> None:
    """Put a section with today's date into benchmarks/RESULTS.md, in the place of the one of this title if any."""
    page, section = RESULTS.read_text(), f"## {title}, {date.today()}\n\n{text}"
    old = re.compile(rf"^## {re.escape(title)}(, [\d-]+|: not yet measured)\n.*?(?=\n## |\Z)", re.MULTILINE | re.DOTALL)
    filled, count = old.subn(lambda _: section, page)
    RESULTS.write_text(filled if count else f"{page}\n{section}")
