"""Which outputs are done, and from what: a later run skips those and does again what has changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..atomic import refuse_existing

NAME = ".foveal-journal.jsonl"


def fingerprint(path: Path, facts: Mapping[str, object], uses: Sequence[Path] = ()) -> str:
    """Return a hash of all that an output depends on: the input as it is now, and facts such as the options.

    Args:
        path: the input, a file or a folder of files; place, size and time of change count, not the content.
        facts: plain values.
        uses: other files that count as the input does.
    """
    files = [*_files(path), *uses]
    states = [(str(each.resolve()), (status := each.stat()).st_size, status.st_mtime_ns) for each in files]
    content = {"input": str(path.resolve()), "files": states, **facts}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


class Entry(NamedTuple):
    """What is known of a finished output.

    Attributes:
        fingerprint: of what it was made of.
        state: what it was when it was finished, see `_state`.
        beside: name of the output that it was made beside, if any.
    """

    fingerprint: str
    state: list[int] | None = None
    beside: str = ""


class Journal:
    """A list of finished outputs in their folder, one JSON line each, appended as they are finished.

    Args:
        folder: the folder of the outputs; those that lie elsewhere are told by the way to them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.entries: dict[str, Entry] = {}
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        for line in lines:
            try:
                self._note(**json.loads(line))
            except (json.JSONDecodeError, TypeError):
                continue  # a line that a killed run did not finish, or another version wrote: its output is done again

    def wrote(self, output: Path) -> bool:
        """Tell whether the output is what an earlier run wrote: nobody has changed it since or put another there."""
        entry = self.entries.get(self._name(output))
        return entry is not None and output.exists() and entry.state == _state(output)

    def is_done(self, output: Path, fingerprint: str) -> bool:
        """Tell whether the output is there and comes from the same input, weights and options."""
        entry = self.entries.get(self._name(output))
        return entry is not None and output.exists() and entry.fingerprint == fingerprint

    def refuse_others(self, outputs: Iterable[Path]) -> None:
        """Refuse to replace what no earlier run wrote, or what has been changed since.

        Raises:
            UserError: an output exists already.
        """
        for output in outputs:
            if not self.wrote(output):
                refuse_existing(output)

    def record(self, output: Path, fingerprint: str, beside: Path | None = None) -> None:
        """Note that an output is finished, and what it was made beside."""
        entry = {"output": self._name(output), "fingerprint": fingerprint}
        entry |= {"state": _state(output)} if output.exists() else {}
        entry |= {"beside": self._name(beside)} if beside else {}
        self._note(**entry)
        line = json.dumps(entry, ensure_ascii=False)
        with self.path.open("a", encoding="utf-8") as file:
            # A newline in front ends what a killed run may have left half-written.
            file.write(f"\n{line}\n" if self._is_cut() else f"{line}\n")

    def finish(self, output: Path, beside: Iterable[Path], fingerprint: str) -> list[Path]:
        """Note that an output and those beside it are finished; remove what lay beside another result of before.

        What has been changed since stays.

        Returns:
            What was removed.
        """
        others, name = list(beside), self._name(output)
        fitting = {self._name(each) for each in others}
        known = list(self.entries.items())  # others may be finished meanwhile, in other threads
        old = [each for each, entry in known if entry.beside == name and entry.fingerprint != fingerprint]
        places = [Path(os.path.normpath(self.folder / each)) for each in old if each not in fitting]
        removed = [each for each in places if self.wrote(each)]
        for each in removed:
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        for each in others:
            self.record(each, fingerprint, output)
        self.record(output, fingerprint)
        return removed

    def _note(self, output: str, **entry: Any) -> None:
        self.entries[output] = Entry(**entry)

    def _name(self, output: Path) -> str:
        return output.name if output.parent == self.folder else os.path.relpath(output, self.folder)

    def _is_cut(self) -> bool:
        return self.path.stat().st_size > 0 and not self.path.read_bytes().endswith(b"\n")


def _files(path: Path) -> list[Path]:
    """Return a file, or the files in a folder and the folders in it."""
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def _state(path: Path) -> list[int]:
    """Return the number of files, their bytes and their newest time of change, in whole seconds."""
    found = [each.stat() for each in _files(path)]
    return [len(found), sum(each.st_size for each in found), max((int(each.st_mtime) for each in found), default=0)]
