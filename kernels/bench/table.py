"""The rows of a run as a file of comma-separated values, and as a table to read."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from .timing import FORMS, Row

HEAD = "| what | floor us | kernel us | times floor | GB/s | TFLOP/s | MB |"
OTHERS = [form for form in FORMS if form not in ("kernel", "float32")]


def write(folder: Path, rows: Sequence[Row], lines: Sequence[str]) -> list[Path]:
    """Write `kernels.csv` and `kernels.md` into a folder and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "kernels.csv", folder / "kernels.md"]
    beside = [path.with_name(f".{path.name}.{os.getpid()}") for path in paths]
    with beside[0].open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows([*each[:4], *(f"{number:.4g}" for number in each[4:])] for each in rows)
    beside[1].write_text("\n".join(lines) + "\n")
    for path, there in zip(paths, beside, strict=True):
        there.replace(path)
    return paths


def markdown(rows: Sequence[Row]) -> list[str]:
    """Return the table: a line for each case and direction of which the kernel was timed.

    Beside each other form stands how much longer it takes, and the megabytes that it needs.
    """
    forms = [form for form in (*OTHERS, "float32") if any(row.form == form for row in rows)]
    head = HEAD + "".join(f" {form} |" for form in forms)
    lines = [head, "|" + " --- |" * (head.count("|") - 1)]
    for row in rows:
        if row.form == "kernel":
            same = {each.form: each for each in rows if each[:3] == row[:3]}
            lines.append(_line(row) + "".join(f" {_beside(row, same.get(form))} |" for form in forms))
    return lines


def _line(row: Row) -> str:
    return (
        f"| {row.operation} {row.size}, {row.direction} | {row.floor:.0f} | {row.median:.0f} "
        f"| {row.median / row.floor:.2f} | {row.gigabytes:.0f} | {row.teraflops:.0f} | {row.megabytes:.0f} |"
    )


def _beside(row: Row, other: Row | None) -> str:
    return "-" if other is None else f"{other.median / row.median:.2f}x, {other.megabytes:.0f} MB"
