"""The run folder: where one training leaves its config, manifest, metrics, plots and checkpoints."""

from __future__ import annotations

import json
import platform
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .atomic import written_beside
from .errors import UserError
from .messages import config_files
from .weights.shipped import shipped_weights

MANIFEST = "manifest.json"
RUNS = Path("runs")


def run_name(app: str, arguments: list[str]) -> str:
    """Name of the runs of a command line: "<app>/<config>", of its first config file, as apps have configs of one name.

    A config that a run left behind stands for that run: `runs/superres/light-2/config.yaml` gives "superres/light-2".
    Without a config the name is the app's, twice.
    """
    configs = [Path(each) for each in config_files(arguments)]
    if not configs:
        return f"{app}/{app}"
    return f"{app}/{configs[0].resolve().parent.name if _run_of(configs[0]) else configs[0].stem}"


def create_folder(name: str, root: Path = RUNS) -> Path:
    """Create and return the first free folder of `root/name`, `root/name-2`, `root/name-3` ..."""
    number = 1
    while True:
        folder = root / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


def remove_unbegun(folder: Path) -> None:
    """Remove a new run folder in which nothing has begun, so that no manifest is there; it need not exist."""
    if folder.exists() and not list(folder.glob("manifest*.json")):
        shutil.rmtree(folder)


def newest_folder(arguments: list[str], name: str, root: Path = RUNS) -> Path | None:
    """Return the newest run folder of a command line (the highest number of `root/name-N`), or None.

    A config that a run left behind stands for that run alone.
    """
    own = next((run for each in config_files(arguments) if (run := _run_of(Path(each)))), None)
    if own is not None:
        return own
    numbers = {int(match[1] or 1): path for path in root.glob(f"{name}*") if (match := _numbered(path, name))}
    return numbers[max(numbers)] if numbers else None


@dataclass(frozen=True)
class Place:
    """Where a command finds its checkpoint and leaves its files.

    Attributes:
        name: name for a new run folder.
        folder: the folder to write to; None where a new one is to be created.
        checkpoint: the checkpoint to load, if any.
    """

    name: str
    folder: Path | None
    checkpoint: Path | None


def find_place(
    app: str, command: str, arguments: list[str], output: Path | None, checkpoint: str | None, root: Path = RUNS
) -> Place:
    """Decide which checkpoint a command loads and where it writes; nothing is created.

    A checkpoint inside a run folder is evaluated, and `last.ckpt` is continued, in that folder. `fit` from any other
    checkpoint begins a new folder, for it would overwrite what came after.

    Args:
        app: name of the app, under which its runs stand.
        command: "fit", "validate", "test" or "predict".
        arguments: the options of the command line.
        output: the wanted run folder, if any.
        checkpoint: None, "last", "best" or a file.
        root: where run folders are created.

    Raises:
        UserError: the output is a file, the checkpoint is missing, or `fit` would overwrite another run.
    """
    name = run_name(app, arguments)
    if output and output.is_file():
        raise UserError(f"--output {output}: is a file; give a folder.")
    if checkpoint in ("last", "best"):
        folder = output or newest_folder(arguments, name, root)
        path = folder and folder / f"{checkpoint}.ckpt"
        if path is None or not path.is_file():
            if command == "fit" and checkpoint == "last":  # so that one command both begins and continues a training
                return Place(name, folder, None)
            where = folder or f"any run folder {root / name}"
            has_last = folder and (folder / "last.ckpt").is_file()
            remedy = "Give last or a file." if has_last else "Run fit, or give a file."
            raise UserError(f"--ckpt_path {checkpoint}: there is no {checkpoint}.ckpt in {where}. {remedy}")
    else:
        path = checkpoint and shipped_weights().get(checkpoint, Path(checkpoint))
        if path and not path.is_file():
            raise UserError(f"--ckpt_path {checkpoint}: there is no such file. Give last, best or a checkpoint.")
        if path and command == "fit" and path.suffix == ".safetensors":
            raise UserError(f"--ckpt_path {checkpoint}: holds weights alone. To go on training, give a last.ckpt.")
    own = path.parent if path and is_run_folder(path.parent) else None
    if command != "fit":
        return Place(f"{name}-{command}", output or own, path or None)
    if path and path.name != "last.ckpt":
        own = None
    if output and output != own and is_run_folder(output):
        raise UserError(f"--output {output}: holds a run. Continue it with --ckpt_path last, or give another folder.")
    return Place(name, output or own, path or None)


def is_run_folder(folder: Path) -> bool:
    """Whether a run left its manifest in this folder."""
    return (folder / MANIFEST).is_file()


def manifest(arguments: list[str], **facts: Any) -> dict[str, Any]:
    """Gather what is needed to repeat a run.

    Args:
        arguments: the whole command line, the program's name first.
        facts: further plain values to record (seed, device, data fingerprint, number of parameters).

    Returns:
        Plain values: command, versions, commit of the code, the given facts, start (UTC, ISO 8601), end (None).
    """
    return {
        "command": shlex.join(arguments),
        "versions": versions(),
        "code": commit(Path(__file__).parents[1]),
        **facts,
        "start": now(),
        "end": None,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write plain values as indented JSON; the file appears whole or not at all."""
    with written_beside(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a training's result."""
    found = {"python": platform.python_version()}
    for package in ("foveal", "torch", "lightning", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit(folder: Path) -> dict[str, Any] | None:
    """Git commit of the repository at `folder` and whether tracked files differ from it; None where it is none."""
    try:
        if Path(_git(folder, "rev-parse", "--show-toplevel")) != folder.resolve():
            return None  # installed inside somebody's own repository
        head = _git(folder, "rev-parse", "HEAD")
        return {"commit": head, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def command_line() -> list[str]:
    """The command line of this process, to be given again: a script by its name, a module by `python -m`."""
    module = sys.modules["__main__"].__spec__
    program = ["python", "-m", module.name.removesuffix(".__main__")] if module else [Path(sys.argv[0]).name]
    return [*program, *sys.argv[1:]]


def now() -> str:
    """The time, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _run_of(config: Path) -> Path | None:
    """The run folder that left this config behind, or None."""
    return config.parent if re.fullmatch(r"config(_\w+)?\.yaml", config.name) and is_run_folder(config.parent) else None


def _numbered(path: Path, name: str) -> re.Match[str] | None:
    own = re.escape(Path(name).name)
    return re.fullmatch(rf"{own}(?:-(\d+))?", path.name) if is_run_folder(path) else None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
