"""What a run folder tells: read from its files alone, so that a report can be made again at any time."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..cases import Case
from ..errors import UserError
from ..messages import config_files
from ..metrics.interval import Interval
from ..metrics_table import read_rows
from ..results import OURS, Result, results
from .showcase import FACTS

STAGES = {"test": "Test", "val": "Validation"}
NAMES = ("name", "set", "patient", "place", "truth", "predicted")
"""Columns of cases that name something, even where all of them are numbers."""
INDEPENDENT = ("place", "patient")
"""Columns that name what was sampled independently, over which the intervals are."""
SESSIONS = {"": "fit", "_validate": "validate", "_test": "test", "_predict": "predict"}


@dataclass(frozen=True)
class Session:
    """One command that wrote into the run folder.

    Attributes:
        command: "fit", "validate", "test" or "predict".
        manifest: what it recorded.
        config: its merged config, YAML.
        checkpoint: which of the run's checkpoints an evaluation takes, "best"; "last" where no validation chose one.
    """

    command: str
    manifest: dict[str, Any]
    config: str
    checkpoint: str


@dataclass(frozen=True)
class Shown:
    """An exhibit as it lies in the run folder.

    Attributes:
        facts: its `showcase.Place`, "kind" and "facts".
        pictures: {title: file}.
    """

    facts: dict[str, Any]
    pictures: dict[str, Path]


@dataclass(frozen=True)
class Stage:
    """An evaluation.

    Attributes:
        name: "val" or "test".
        columns: of its cases, those that name a case first.
        cases: text where a column names something, else numbers.
        results: the means with their intervals.
        shown: the best, the median and the worst case.
    """

    name: str
    columns: list[str]
    cases: list[Case]
    results: list[Result]
    shown: list[Shown]


@dataclass(frozen=True)
class Run:
    """All that a report tells.

    Attributes:
        folder: the run folder.
        app: name of the app.
        network: name of the network's class.
        sessions: the commands that wrote into the folder, the training first.
        curves: rows of the metrics table; empty where nothing was trained.
        stages: evaluations by name.
    """

    folder: Path
    app: str
    network: str
    sessions: list[Session]
    curves: list[dict[str, str]]
    stages: dict[str, Stage]

    @property
    def ranking(self) -> str | None:
        """The metric by which cases are ranked, where any are shown."""
        return self._place.get("metric")

    @property
    def ranking_mode(self) -> str:
        """Whether more ("max") or less ("min") of that metric is better."""
        return self._place.get("mode", "max")

    @property
    def _place(self) -> dict[str, Any]:
        return next((each.facts for stage in self.stages.values() for each in stage.shown), {})

    @property
    def units(self) -> dict[str, str]:
        """Units of the metrics that have one."""
        return self.sessions[0].manifest.get("units", {})

    @property
    def monitor(self) -> str | None:
        """The metric that chooses the best checkpoint; that of the ranking where the run does not tell."""
        return self.sessions[0].manifest.get("monitor", "").removeprefix("val/") or self.ranking


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        UserError: there is none, or one of its files is damaged.
    """
    sessions = _sessions(folder)
    if not sessions:
        raise UserError(f"{folder}: is no run folder, it has no manifest.json; give the folder that fit or test wrote.")
    app, network = _built(folder, sessions[0].config)
    stages = {name: stage for name in STAGES if (stage := _stage(folder, name))}
    return Run(folder, app, network, sessions, read_rows(folder / "metrics.csv")[1], stages)


def _sessions(folder: Path) -> list[Session]:
    found = []
    checkpoint = "last" if (folder / "last.ckpt").is_file() and not (folder / "best.ckpt").is_file() else "best"
    for suffix, command in SESSIONS.items():
        path, config = folder / f"manifest{suffix}.json", folder / f"config{suffix}.yaml"
        if path.is_file():
            text = config.read_text("utf-8") if config.is_file() else ""
            found.append(Session(command, _json(path), text, checkpoint))
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error}); run the command that wrote it again.") from error


def _built(folder: Path, config: str) -> tuple[str, str]:
    """Return the app and the network's class out of a merged config."""
    import yaml

    try:
        model = (yaml.safe_load(config) or {}).get("model") or {}
    except yaml.YAMLError as error:
        raise UserError(f"{folder}: its merged config is damaged ({' '.join(str(error).split())}).") from error
    net = (model.get("init_args") or {}).get("net") or {}
    path = str(model.get("class_path", ""))
    app = path.partition(".apps.")[2].partition(".")[0] or path.rpartition(".")[2]
    return app, str(net.get("class_path", path)).rpartition(".")[2]


def _stage(folder: Path, name: str) -> Stage | None:
    columns, rows = read_rows(folder / f"cases_{name}.csv")
    if not rows:
        return None
    numbers = [each for each in columns if each not in NAMES and all(_is_number(row[each]) for row in rows)]
    texts = [each for each in NAMES if each in columns]
    columns = [*texts, *(each for each in columns if each not in (*texts, *numbers)), *numbers]
    cases = [{each: float(row[each]) if each in numbers else row[each] for each in columns} for row in rows]
    return Stage(name, columns, cases, _results(folder, name, columns, cases), _shown(folder / f"showcase_{name}"))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _results(folder: Path, name: str, columns: Sequence[str], cases: Sequence[Case]) -> list[Result]:
    """Return the scores that the task wrote of all cases together, else the means over the cases."""
    scores = read_rows(folder / f"scores_{name}.csv")[1]
    if scores:
        return [
            Result(row["set"], int(row["cases"]), row["metric"], {OURS: Interval(*_values(row), int(row["cases"]))})
            for row in scores
        ]
    means = [{key: value for key, value in case.items() if not key.startswith("probability_")} for case in cases]
    return results(means, by=next((each for each in INDEPENDENT if each in columns), None))


def _values(row: dict[str, str]) -> tuple[float, ...]:
    return tuple(float(row[each]) for each in ("value", "low", "high"))


def _shown(folder: Path) -> list[Shown]:
    found = []
    for path in sorted(folder.glob(f"*/{FACTS}")):
        facts = _json(path)
        found.append(Shown(facts, {title: path.parent / file for title, file in facts.pop("pictures").items()}))
    return found


def facts_of(session: Session) -> dict[str, str]:
    """Return what is known of a session as {what: text}; what is not known is not there."""
    known = session.manifest
    code = known.get("code") or {}
    device = known.get("device") or ""
    processes = known.get("processes") or 1
    facts = {
        "config": ", ".join(Path(each).name for each in config_files(shlex.split(known.get("command", "")))),
        "started": _day(known.get("start")),
        "took": _span(known.get("start"), known.get("end")),
        "device": f"{device}, {processes} processes" if processes > 1 else device,
        "parameters": f"{known['parameters']:,}" if "parameters" in known else "",
        "seed": str(known.get("seed", "")),
        "best.ckpt": _chosen(session) if session.command == "fit" else "",
        "versions": ", ".join(f"{name} {version}" for name, version in (known.get("versions") or {}).items()),
        "commit": f"{code['commit'][:12]}{', with local changes' if code['dirty'] else ''}" if code else "",
    }
    return {name: text for name, text in facts.items() if text}


def _chosen(session: Session) -> str:
    """Return by what the best checkpoint of a run is chosen, or that there is none."""
    if "monitor" not in session.manifest:
        return ""
    monitor = session.manifest["monitor"].replace("_", " ")
    if session.checkpoint == "last":
        return f"none, no validation gave {monitor}"
    return f"{'highest' if session.manifest['monitor_mode'] == 'max' else 'lowest'} {monitor}"


def _day(time: str | None) -> str:
    return f"{datetime.fromisoformat(time):%d %B %Y, %H:%M} UTC" if time else ""


def _span(start: str | None, end: str | None) -> str:
    """Return for example "1 h 05 min"; nothing where the session has no end."""
    if not (start and end):
        return ""
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    minutes = math.floor(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {seconds % 60:.0f} s" if minutes else f"{seconds:.0f} s"
