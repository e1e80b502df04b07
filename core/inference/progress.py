"""Telling a person how far the work is: a bar on a terminal, plain lines in a log, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

INTERVAL = 10  # seconds between lines about one input in a log


class Reporter:
    """Reports on stderr.

    Args:
        total: inputs in all.
        quiet: report nothing.
    """

    def __init__(self, total: int, quiet: bool = False) -> None:
        self.total = total
        self.console = Console(stderr=True, quiet=quiet, soft_wrap=True, highlight=False)
        self.number = 0
        self.name = ""
        self.last_line = 0.0
        self.bar: Progress | None = None
        if self.console.is_terminal and not quiet:
            name, unit = TextColumn("{task.description}"), TextColumn("rows")
            columns = (name, BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn())
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.task = self.bar.add_task("", total=None)

    def __enter__(self) -> Reporter:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def start(self, name: str) -> None:
        """Begin with the next input."""
        self.number += 1
        self.name = name
        self.last_line = time.monotonic()
        if self.bar:
            self.bar.reset(self.task, description=escape(f"[{self.number}/{self.total}] {name}"), total=None)

    def rows(self, done: int, total: int) -> None:
        """Tell how many rows of the current input are done."""
        if self.bar:
            self.bar.update(self.task, completed=done, total=total)
        elif time.monotonic() - self.last_line > INTERVAL:
            self.last_line = time.monotonic()
            self.line(f"{done} of {total} rows")

    def summary(self, counts: Mapping[str, int]) -> None:
        """Say how many inputs ended how."""
        self.console.print(", ".join(f"{count} {status}" for status, count in counts.items()), markup=False)

    def line(self, text: str) -> None:
        """Say something about the current input."""
        self.console.print(f"[{self.number}/{self.total}] {self.name}: {text}", markup=False)
