"""How well networks do on what they were not trained on, beside baselines: the table of an app's quality.

Trainings are the shipped configs, whose data lie in the folder `datasets` of the place where the benchmark is run.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from measure import Table

from foveal.core.metrics.interval import Interval, bootstrap, bootstrap_mean

HEAD = "| held out | cases | method | score [95 % interval] | other scores |"
NAMED = 3  # of its columns tell lines apart


class Score(NamedTuple):
    """A score of a table.

    Attributes:
        column: its name in the files of a run.
        shown: its name in the table.
        digits: after the point.
    """

    column: str
    shown: str
    digits: int = 3


class Run(NamedTuple):
    """A training and what is scored of it.

    Attributes:
        app: its name.
        config: the file in `configs/<app>`, without its suffix.
        held_out: what each set of the scored cases is called in the table.
        methods: {what a method is called in the table: what the columns of its scores begin with}.
        scores: of which the first has its interval.
        options: of `fit`.
        checkpoint: what is scored; weights that have a name are not trained.
        groups: the column that tells which cases are drawn together.
    """

    app: str
    config: str
    held_out: Mapping[str, str]
    methods: Mapping[str, str]
    scores: Sequence[Score]
    options: tuple[str, ...] = ()
    checkpoint: str = "best"
    groups: str = "name"


def quality_table(title: str, runs: Mapping[str, Run], note: str = "") -> Table:
    """Return the table of an app whose rows are trainings."""
    return Table(f"{title}: quality", HEAD, runs, lambda row: "\n".join(run_lines(runs[row])), tuple, note, NAMED)


def run_lines(run: Run) -> Iterator[str]:
    """Train, test, and yield a line for each set and method."""
    with working_folder() as folder:
        if run.checkpoint in ("best", "last"):
            foveal(folder, run.app, "fit", "--config", config(run), *run.options)
        foveal(folder, run.app, "test", "--config", config(run), "--ckpt_path", run.checkpoint, *run.options)
        (path,) = folder.glob("runs/*/*/cases_test.csv")
        together = path.with_name("scores_test.csv")
        whole = _lines(together) if together.exists() else []
        cases = _lines(path)
    for group, name in run.held_out.items():
        members = [case for case in cases if case["set"] == group]
        if not members:
            raise ValueError(f"{run.config}: was tested on {sorted({case['set'] for case in cases})}, not on {group}.")
        of_all = [each for each in whole if each["set"] == group]
        for method, prefix in run.methods.items():
            found = [_interval(members, of_all, f"{prefix}{each.column}", run.groups) for each in run.scores]
            (first, main), *others = zip(run.scores, found, strict=True)
            rest = [f"{score.shown} {each.mean:.{score.digits}f}" for score, each in others]
            yield line(name, len(members), method, shown(first.shown, main, first.digits), rest)


def _interval(cases: list[dict[str, str]], of_all: list[dict[str, str]], column: str, groups: str) -> Interval:
    """Return a score of all cases together where there is one of this name, or the mean of that of each case."""
    for each in of_all:
        if each["metric"] == column:
            return Interval(*(float(each[end]) for end in ("value", "low", "high")), len(cases))
    values = [float(case[column]) for case in cases]
    if groups == "name":
        return bootstrap_mean(values)
    import torch

    numbers = torch.tensor(values, dtype=torch.float64)
    return bootstrap(lambda drawn: numbers[drawn].nanmean()[None], len(cases), [case[groups] for case in cases])[0]


def line(held_out: str, cases: int, method: str, score: str, others: Sequence[str]) -> str:
    """Return a line of the table."""
    return f"| {held_out} | {cases} | {method} | {score} | {', '.join(others)} |"


def shown(name: str, found: Interval, digits: int = 3) -> str:
    """Return a score with its interval, which one group of cases has none of."""
    interval = f" [{found.low:.{digits}f}, {found.high:.{digits}f}]" if found.is_known else ""
    return f"{name} {found.mean:.{digits}f}{interval}"


@contextmanager
def working_folder() -> Iterator[Path]:
    """Yield a folder of its own, in which the data lie under `datasets` as they do here."""
    with tempfile.TemporaryDirectory() as folder:
        if Path("datasets").exists():
            Path(folder, "datasets").symlink_to(Path("datasets").resolve())
        yield Path(folder)


def config(run: Run) -> str:
    """Return the config as commands are given it."""
    return f"configs/{run.app}/{run.config}.yaml"


def foveal(folder: Path, *words: str) -> None:
    """Run a command in a folder; its errors are shown."""
    subprocess.run([sys.executable, "-m", f"foveal.apps.{words[0]}", *words[1:]], cwd=folder, check=True, stdout=2)


def _lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
