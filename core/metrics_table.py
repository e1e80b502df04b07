"""The metrics table of a run: a CSV log that a resumed run continues."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from .atomic import written_beside


class MetricsTable(CSVLogger):
    """Lightning's CSV log in one file of the run folder, written row by row and continued by a resumed run.

    A row holds what was logged at one time: `step`, `epoch` and some of the metrics; the other columns are empty.

    Args:
        folder: the run folder.
        name: the file in it.
    """

    def __init__(self, folder: Path, name: str = "metrics.csv") -> None:
        super().__init__(folder, name="", version="")
        self.path = folder / name

    @property
    @rank_zero_experiment
    def experiment(self) -> _Writer:
        """The writer of the file, on the first process."""
        if self._experiment is None:
            self._experiment = _Writer(self.path)
        return self._experiment

    @rank_zero_only
    def rewind(self, rows: int) -> None:
        """Drop every row after the first `rows`; what follows a checkpoint is logged again when training resumes."""
        columns, kept = read_rows(self.path)
        self.path.unlink(missing_ok=True) if not rows else write_rows(self.path, columns, kept[:rows])
        self._experiment = None

    @property
    def rows(self) -> int:
        """Rows that are safe on the disk; 0 on processes that do not write."""
        return self.experiment.flushed_rows() if rank_zero_only.rank == 0 else 0


class _Writer(ExperimentWriter):
    """Appends rows to a CSV file; a new metric adds a column to the whole file."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path.parent))
        self.metrics_file_path = str(path)
        self.path = path
        self.metrics_keys, rows = read_rows(path)
        self.rows = len(rows)

    def _check_log_dir_exists(self) -> None:
        """Keep the rows of earlier sessions, which Lightning's writer would delete."""

    def save(self) -> None:
        if not self.metrics:
            return
        if self._record_new_keys():
            write_rows(self.path, self.metrics_keys, read_rows(self.path)[1])
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.metrics_keys).writerows(self.metrics)
        self.rows += len(self.metrics)
        self.metrics = []

    def flushed_rows(self) -> int:
        self.save()
        if self.path.exists():
            with open(self.path, "rb") as file:
                os.fsync(file.fileno())
        return self.rows


def read_rows(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Column names and whole rows of a CSV file with a header; nothing where the file is missing.

    A last line without an end was cut off by a kill and is left out.
    """
    if not path.is_file():
        return [], []
    with path.open(newline="", encoding="utf-8") as file:
        lines = [line for line in file if line.endswith("\n")]
    reader = csv.DictReader(lines)
    return list(reader.fieldnames or []), list(reader)


def write_rows(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    """Write a CSV file with a header; it appears whole or not at all. Values that a row lacks stay empty."""
    with written_beside(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
