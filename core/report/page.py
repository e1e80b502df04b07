"""The page: what was read of a run, filled into the templates."""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cases import Case
from ..results import OURS, interval_text, methods_of
from . import curves
from .pictures import Picture, embedded
from .read import STAGES, Run, Shown, Stage, facts_of

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("template")
LARGEST = 10_000_000 - 1  # bytes of a report
SCALES = (1.0, 0.7, 0.5, 0.35, 0.25)
"""By which the pictures are made smaller, one after the other, until the report is small enough."""
MOST_CELLS = 30_000  # of a table of cases
MOST_TEXT = 20_000  # characters of a config
FIRST_PANELS = 6  # curves that are seen at once


@dataclass(frozen=True)
class Exhibit:
    """A case as a template of its kind shows it.

    Attributes:
        place: as `showcase.Place`, in JSON's values.
        kind: name of the template.
        facts: for that kind.
        pictures: to be shown.
    """

    place: dict[str, Any]
    kind: str
    facts: dict[str, Any]
    pictures: list[Picture]


def page(run: Run) -> str:
    """Return the report of a run, at most `LARGEST` bytes of HTML.

    Pictures are made smaller until it fits; where that is not enough, those of the validation are left out, then all.
    """
    for stages in (list(run.stages), list(run.stages)[:1], []):
        for scale in SCALES:
            text = _rendered(run, stages, scale)
            if len(text.encode()) <= LARGEST:
                return text
    raise ValueError(f"{run.folder}: the report is too large even without pictures")


def _rendered(run: Run, with_pictures: Sequence[str], scale: float) -> str:
    exhibits = {
        name: [_exhibit(each, scale) for each in stage.shown] if name in with_pictures else []
        for name, stage in run.stages.items()
    }
    kinds = sorted({each.kind for shown in exhibits.values() for each in shown})
    drawn = curves.panels(run.curves, run.monitor)
    script = _files("report.js", [f"kinds/{kind}.js" for kind in kinds])
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            facts=facts_of(run.sessions[0]),
            stages=[(title, run.stages.get(name), exhibits.get(name, [])) for name, title in STAGES.items()],
            panels=[drawn[:FIRST_PANELS], drawn[FIRST_PANELS:]],
            drawing=curves,
            style=_files("report.css", [f"kinds/{kind}.css" for kind in kinds]),
            script=script,
            digest=b64encode(sha256(script.encode()).digest()).decode(),
            headline=_headline(run),
            most_text=MOST_TEXT,
        )
    )


def _exhibit(shown: Shown, scale: float) -> Exhibit:
    pictures = [embedded(title, path, scale) for title, path in shown.pictures.items()]
    kind = shown.facts["kind"]
    return Exhibit(shown.facts, kind if kind in _kinds() else "columns", shown.facts["facts"], pictures)


def _kinds() -> set[str]:
    return {path.name.partition(".")[0] for path in (TEMPLATES / "kinds").glob("*.html.j2")}


def _headline(run: Run) -> dict[str, Any] | None:
    """Return the result that the page begins with: the monitored metric, else the first that has a value."""
    for name, stage in run.stages.items():
        known = [each for each in stage.results if not math.isnan(each.methods[OURS].mean)] or stage.results
        found = next((each for each in known if each.metric == run.monitor), known[0])
        return {"stage": STAGES[name].lower(), "result": found, "interval": found.methods[OURS]}
    return None


def listed(stage: Stage, metric: str | None, mode: str) -> list[Case]:
    """Return the cases of the table: all, or those with the worst `metric` where there are too many."""
    most = max(MOST_CELLS // len(stage.columns), 1)
    if len(stage.cases) <= most:
        return stage.cases

    def standing(case: Case) -> float:
        score = case.get(metric)
        if not isinstance(score, float) or math.isnan(score):
            return math.inf
        return score if mode == "max" else -score

    return sorted(stage.cases, key=standing)[:most]


def again(run: Run, stage: str) -> str:
    """Return the command that makes an evaluation of a run, again or for the first time."""
    command = {"val": "validate"}.get(stage, stage)
    done = next((each for each in run.sessions if each.command == command and "command" in each.manifest), None)
    return (
        done.manifest["command"]
        if done
        else f"foveal {run.app} {command} --config {run.folder}/config.yaml --ckpt_path {run.sessions[0].checkpoint}"
    )


def points(panel: curves.Panel) -> list[dict[str, Any]]:
    """Return what the script reads out of a panel."""
    return [
        {"label": words(line.label), "points": [(step, float(f"{value:.5g}")) for step, value in line.points]}
        for line in panel.lines
    ]


def number(value: float) -> str:
    """Write four digits of a number of a table, of whole ones those that it has; a dash where there is none."""
    if isinstance(value, float) and math.isnan(value):
        return "–"
    return f"{value:.4g}" if float(value).is_integer() else f"{value:#.4g}".rstrip(".")


def plain(value: Any) -> Any:
    """Write what a data module tells of itself: words of a list in one line, the beginning of a hash."""
    if isinstance(value, list) and not any(isinstance(each, (dict, list)) for each in value):
        return ", ".join(map(str, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return f"{value[:12]}…"
    return value


def words(name: str) -> str:
    """Write a name of the code as words."""
    return name.replace("_", " ")


def measure(name: str, units: Mapping[str, str]) -> str:
    """Write the name of a metric as words, with its unit: "hd95_liver" as "hd95 liver (mm)"."""
    unit = next((units[part] for part in name.split("_") if part in units), "")
    return f"{words(name)} ({unit})" if unit else words(name)


def _files(first: str, others: Sequence[str]) -> str:
    """Return the text of a file of the templates, followed by those of the others that exist."""
    paths = [TEMPLATES / first, *(path for each in others if (path := TEMPLATES / each).is_file())]
    return "\n".join(path.read_text("utf-8").strip() for path in paths)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["listed"] = listed
    environment.filters |= {
        "number": number,
        "plain": plain,
        "words": words,
        "measure": measure,
        "interval": interval_text,
        "json": json.dumps,
        "points": points,
        "again": again,
        "facts": facts_of,
        "methods": methods_of,
    }
    return environment
