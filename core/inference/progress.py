"""Telling a person how far the work is: a bar on a terminal, plain lines in a log, nothing when quiet."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from itertools import count

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

INTERVAL = 10  # seconds between lines about one input in a log


class Reporter:
    """Reports on stderr. Threads that work at once each tell of their own input.

    Args:
        total: inputs in all.
        quiet: report nothing.
        unit: what is counted within an input.
    """

    def __init__(self, total: int, quiet: bool = False, unit: str = "tiles") -> None:
        self.total = total
        self.unit = unit
        self.console = Console(stderr=True, quiet=quiet, soft_wrap=True, highlight=False)
        self.numbers = count(1)
        self.current = _Current()
        self.bar: Progress | None = None
        if self.console.is_terminal and not quiet:
            name, rate = TextColumn("{task.description}"), TextColumn("{task.fields[rate]}")
            columns = (name, BarColumn(), MofNCompleteColumn(), TextColumn(unit), rate, TimeRemainingColumn())
            self.bar = Progress(*columns, console=self.console, transient=True)

    def __enter__(self) -> Reporter:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def start(self, name: str) -> None:
        """Begin with the next input."""
        self.current.start(next(self.numbers), name)
        if self.bar:
            if self.current.task is None:
                self.current.task = self.bar.add_task("", total=None, rate="")
            title = escape(f"[{self.current.number}/{self.total}] {name}")
            self.bar.reset(self.current.task, description=title, total=None, rate="")

    def progress(self, done: int, total: int) -> None:
        """Tell how much of the current input is done."""
        rate = self.current.rate(done)
        if self.bar:
            self.bar.update(self.current.task, completed=done, total=total, rate=rate)
        elif time.monotonic() - self.current.last_line > INTERVAL:
            self.current.last_line = time.monotonic()
            self.line(f"{done} of {total} {self.unit}{rate and f', {rate}'}")

    def summary(self, counts: Mapping[str, int]) -> None:
        """Say how many inputs ended how."""
        self.console.print(", ".join(f"{count} {status}" for status, count in counts.items()), markup=False)

    def line(self, text: str) -> None:
        """Say something about the current input."""
        self.console.print(f"[{self.current.number}/{self.total}] {self.current.name}: {text}", markup=False)


class _Current(threading.local):
    """The input that a thread is working on."""

    number = 0
    name = ""
    last_line = 0.0
    first: tuple[float, int] | None = None
    task: TaskID | None = None

    def start(self, number: int, name: str) -> None:
        self.number, self.name, self.first = number, name, None
        self.last_line = time.monotonic()

    def rate(self, done: int) -> str:
        """Return how fast it goes since it was first asked, which may be in the middle; "" where that is not known."""
        now = time.monotonic()
        if self.first is None:
            self.first = now, done
        begun, before = self.first
        return f"{(done - before) / (now - begun):.3g}/s" if done > before and now > begun else ""
