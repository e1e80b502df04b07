"""What `init` writes: a commented config, the file of its split, and a summary with the next commands."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml

from ..core.atomic import refuse_existing, written_beside
from ..core.errors import UserError
from .init_size import Size

WIDTH = 120


@dataclass(frozen=True)
class Noted:
    """A value of a config with a comment: what it was chosen from, and why."""

    value: Any
    note: str


@dataclass(frozen=True)
class Places:
    """What `init` writes.

    Attributes:
        config: the YAML file.
        split: the CSV file beside it.
    """

    config: Path
    split: Path


def places_of(input: Path, output: Path | None, overwrite: bool) -> Places:
    """Return the files to write: FOLDER.yaml in the working directory where no output is given.

    Raises:
        UserError: the folder is not there, the output is no YAML file, or a file exists already.
    """
    if not input.is_dir():
        raise UserError(f"{input}: there is no such folder; give the folder that holds the data.")
    config = output or Path(f"{input.resolve().name}.yaml")
    if config.suffix.lower() not in (".yaml", ".yml"):
        raise UserError(f"--output {config}: is no YAML file; end it in .yaml.")
    places = Places(config, config.with_name(f"{config.stem}_split.csv"))
    for path in (places.config, places.split):
        if not overwrite:
            refuse_existing(path)
    return places


def write_config(
    places: Places,
    app: str,
    input: Path,
    base: str,
    size: Size,
    found: Sequence[str],
    config: Mapping[str, Any],
    rows: Sequence[Mapping[str, str]],
    check: Sequence[str | Path],
    infer: str,
) -> None:
    """Write the config and its split, and print what was found and what comes next.

    Args:
        places: the files.
        app: its name.
        input: the folder that was looked at.
        base: the shipped config that this one builds on, such as "configs/polyp/quickstart_pranet.yaml".
        size: what the proposal is made for.
        found: what the folder holds, a sentence each.
        config: what differs from the base; values may be `Noted`.
        rows: lines of the split file, each {column: text}; no file is written without any.
        check: the options of `check` for this folder, word by word.
        infer: those of `infer`, after --weights.
    """
    run = f"runs/{app}/{places.config.stem}"
    words = (["check", *check], ["fit", "--config", places.config], ["infer", "--weights", f"{run}/best.ckpt"])
    commands = [shlex.join(["foveal", app, *map(str, each)]) for each in words]
    commands[-1] += f" {infer}"
    head = [f"{app} on {input.resolve()}, as `foveal init` found it; change whatever you know better", "", "found:"]
    told = [*found, size.told]
    head += [line for each in told for line in wrap(each, WIDTH - 6, initial_indent="- ", subsequent_indent="  ")]
    head += ["", "next:", *(f"  {each}" for each in commands)]
    text = "".join(f"# {line}".rstrip() + "\n" for line in head)
    with written_beside(places.config) as part:
        part.write_text(f"{text}\nbase: {base}\n{commented(config)}\n", encoding="utf-8")
    if rows:
        _write_rows(places.split, rows)
    written = f"{places.config}, and the split {places.split}" if rows else str(places.config)
    print(
        "\n".join([*head[2 : -len(commands) - 2], "", f"wrote {written}", "", "next:", *(f"  {c}" for c in commands)])
    )


def commented(config: Mapping[str, Any]) -> str:
    """Return a config as YAML with the comments of its `Noted` values."""
    return "\n".join(_entries(config, 0))


def _entries(config: Mapping[str, Any], indent: int) -> Iterator[str]:
    """Yield the lines of a mapping."""
    for key, value in config.items():
        note = value.note if isinstance(value, Noted) else ""
        value = value.value if isinstance(value, Noted) else value
        yield from _entry(f"{' ' * indent}{_flow(key)}:", value, note, indent)


def _entry(head: str, value: Any, note: str, indent: int) -> Iterator[str]:
    """Yield the lines of one key: on one line where it fits, a long comment above it."""
    line = head if _is_nested(value) else f"{head} {_flow(value)}"
    if not _is_nested(value) and len(line) > WIDTH and isinstance(value, (Mapping, list)):
        line = head
    behind = f"{line}  # {note}" if note else line
    if len(behind) > WIDTH and note:
        yield from (f"{' ' * indent}# {each}" for each in wrap(note, WIDTH - indent - 2))
        behind = line
    yield behind
    if line != head:
        return
    if isinstance(value, Mapping):
        yield from _entries(value, indent + 2)
    else:
        for each in value:
            first, *others = _entries(each, indent + 4)
            yield f"{' ' * (indent + 2)}- {first.lstrip()}"
            yield from others


def _is_nested(value: Any) -> bool:
    """Tell whether a comment stands somewhere inside, so that a value cannot be on one line."""
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(isinstance(each, Noted) or _is_nested(each) for each in children)


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    return text.strip().removesuffix("\n...")


def _write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with written_beside(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
