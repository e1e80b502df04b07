"""Many inputs, one after the other: finished ones are skipped, bad ones told and passed over."""

from __future__ import annotations

import json
import logging
import os
import platform
import shlex
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ..atomic import written_beside
from ..errors import FailedInputs, UserError, is_disk_full, machine_fault
from ..run import command_line
from .engine import Progress
from .journal import Journal, fingerprint
from .progress import Reporter

logger = logging.getLogger(__name__)


class Item(NamedTuple):
    """An input file and the output to make of it.

    Attributes:
        input: the file, or a folder that is one input.
        output: the file.
        beside: other outputs that are made with it, by what they are.
        uses: other files that the outputs depend on.
        facts: on which these outputs depend, in place of those of the batch.
    """

    input: Path
    output: Path
    beside: Mapping[str, Path] = MappingProxyType({})
    uses: tuple[Path, ...] = ()
    facts: Mapping[str, object] = MappingProxyType({})

    @property
    def outputs(self) -> list[Path]:
        """All outputs."""
        return [self.output, *self.beside.values()]


Work = Callable[[Item, str, Progress], str | None]
"""Makes the outputs of an item; gets its fingerprint, for sinks that can go on, and what to tell about rows.

What it returns is told of the finished item, there and in the manifest.
"""
MANIFEST = "foveal-manifest.json"


def pair_paths(
    inputs: Sequence[Path],
    output: Path,
    suffixes: Collection[str],
    writable: Collection[str] | None = None,
    is_input: Callable[[Path], bool] = lambda path: False,
    name: Callable[[Path], str] = lambda file: file.name,
    beside: Callable[[Path, Path], Mapping[str, Path]] = lambda file, output: {},
) -> list[Item]:
    """Say which output belongs to which input.

    A single input may have an output file. In all other cases the output is a folder. Of a folder the files with a
    known suffix are taken, sorted, and the files and folders in it that are inputs whatever their names. Where inputs
    in several folders share a name, all outputs have the names of these folders in front: patient1_CT, patient2_CT.

    Args:
        inputs: files and folders.
        output: a file or a folder; what is no folder yet and has a writable suffix is a file.
        suffixes: of the files that are taken from folders, lower case, with the dot.
        writable: of outputs; None for those of inputs.
        is_input: tells whether a folder is one input, such as a DICOM series, or a file is one in spite of its name.
        name: gives the name of an input's output in a folder.
        beside: gives the other outputs of an input and its output.

    Raises:
        UserError: an input is missing or a folder is empty, two inputs would have the same output, or an output would
            replace an input.
    """
    files = [file for path in inputs for file in find_inputs(path, suffixes, is_input)]
    writable = writable or suffixes
    is_file = is_named_as_file(output, writable)
    if is_file and (len(files) > 1 or list(inputs) != files):
        raise UserError(f"--output {output}: is one file for {len(files)} inputs; give a folder.")
    if not is_file and not output.is_dir() and (output.is_file() or (output.suffix and list(inputs) == files[:1])):
        raise UserError(
            f"--output {output}: is neither a folder nor named as a file that can be written; end it in one of "
            f"{', '.join(sorted(writable))}, or make the folder first."
        )
    outputs = [output] if is_file else [output / each for each in _distinct_names(files, name)]
    items = [Item(*pair, beside(*pair)) for pair in zip(files, outputs, strict=True)]
    _refuse_clashes(items)
    return items


def is_named_as_file(output: Path, writable: Collection[str]) -> bool:
    """Tell whether an output is one file, by its suffix, and not a folder."""
    return output.name.lower().endswith(tuple(writable)) and not output.is_dir()


def manifest_of(output: Path, writable: Collection[str]) -> Path | None:
    """Return where the manifest of a run goes: into the output, if that is a folder."""
    return None if is_named_as_file(output, writable) else output / MANIFEST


def run_batch(
    items: Sequence[Item],
    work: Work,
    facts: Mapping[str, object],
    overwrite: bool = False,
    quiet: bool = False,
    manifest: Path | None = None,
    unit: str = "tiles",
    workers: int = 1,
) -> None:
    """Do the work for every item, and raise at the end if any failed.

    Args:
        items: what to do, all outputs in one folder.
        work: does it; a UserError or OSError, or a bug, fails its item alone. A full disk ends the batch.
        facts: what the outputs depend on beside their inputs (weights, options).
        overwrite: do finished items again, and replace files that no earlier run wrote.
        quiet: report nothing but the failures.
        manifest: JSON file that tells what was done with what, written at the end, also of an interrupted run.
        unit: what the progress counts.
        workers: items that are worked on at once, each in a thread.

    Raises:
        FailedInputs: items failed; the message lists them with their reasons.
    """
    journal = Journal(items[0].output.parent)
    begun = datetime.now(UTC)
    records: list[dict[str, object]] = []
    try:
        with Reporter(len(items), quiet, unit) as reporter:

            def record(item: Item) -> dict[str, object]:
                reporter.start(item.input.name)
                return _record(item, work, facts, journal, reporter, overwrite)

            for each in map(record, items) if workers == 1 else _at_once(record, items, workers):
                records.append(each)
    finally:
        if manifest:
            _write_manifest(manifest, facts, begun, items, records)
    raise_failures([str(each["reason"]) for each in records if each["status"] == "failed"], len(items))
    if len(items) > 1:
        reporter.summary(Counter(str(each["status"]) for each in records))


def _at_once(
    record: Callable[[Item], dict[str, object]], items: Sequence[Item], workers: int
) -> Iterator[dict[str, object]]:
    """Record items in threads, in their order; begin no further ones after an error that ends the batch."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(record, items)
    finally:
        pool.shutdown(cancel_futures=True)


def raise_failures(reasons: Sequence[str], count: int) -> None:
    """Raise if any of `count` inputs failed.

    Raises:
        FailedInputs: lists the reasons.
    """
    if reasons and count == 1:
        raise FailedInputs(reasons[0])
    if reasons:
        told = "\n".join(reasons)
        others = ", the others are done" if len(reasons) < count else ""
        raise FailedInputs(f"{len(reasons)} of {count} inputs failed{others}:\n{told}")


def _record(
    item: Item, work: Work, facts: Mapping[str, object], journal: Journal, reporter: Reporter, overwrite: bool
) -> dict[str, object]:
    """Do one item and return what the manifest says of it."""
    start = time.monotonic()
    record: dict[str, object] = {"input": str(item.input), "output": str(item.output)}
    record |= {what: str(path) for what, path in item.beside.items()}
    try:
        record |= _run_item(item, work, facts, journal, reporter, overwrite)
    except Exception as error:
        if is_disk_full(error):
            raise
        record |= {"status": "failed", "reason": reason_of(item.input, error)}
        if reporter.total > 1:
            reporter.line(f"failed: {record['reason']}")
    return record | {"seconds": round(time.monotonic() - start, 3)}


def _write_manifest(
    path: Path, facts: Mapping[str, object], begun: datetime, items: Sequence[Item], records: list[dict[str, object]]
) -> None:
    waiting = [{"input": str(each.input), "status": "not done"} for each in items[len(records) :]]
    content = {
        "command": shlex.join(command_line()),
        "begun": begun.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        **facts,
        "items": records + waiting,
    }
    with written_beside(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def find_inputs(path: Path, suffixes: Collection[str], is_input: Callable[[Path], bool]) -> list[Path]:
    """Return a file, or a folder that is one input, or the inputs in a folder, sorted.

    Args:
        path: a file or a folder.
        suffixes: as for `pair_paths`.
        is_input: see `pair_paths`.

    Raises:
        UserError: there is no such file or folder, or nothing in it.
    """
    if not path.exists():
        raise UserError(f"--input {path}: there is no such file or folder.")
    if not path.is_dir() or is_input(path):
        return [path]
    files = sorted(each for each in path.iterdir() if _is_wanted(each, suffixes) or is_input(each))
    if not files:
        deeper = any(each.is_dir() for each in path.iterdir())
        raise UserError(
            f"--input {path}: the folder holds no file that ends in {', '.join(sorted(suffixes))}"
            f"{'; folders in it are not searched: give one of those' if deeper else ''}."
        )
    return files


def _is_wanted(path: Path, suffixes: Collection[str]) -> bool:
    return path.name.lower().endswith(tuple(suffixes)) and not path.name.startswith(".") and not path.is_dir()


def _distinct_names(files: Sequence[Path], name: Callable[[Path], str]) -> list[str]:
    """Return the name of each output; where two are the same, those of the folders in which inputs differ in front."""
    names = [name(file) for file in files]
    if len(set(names)) == len(names):
        return names
    folders = [file.resolve().parent for file in files]
    shared = os.path.commonpath(folders)
    return ["_".join([*folder.relative_to(shared).parts, each]) for folder, each in zip(folders, names, strict=True)]


def _refuse_clashes(items: Sequence[Item]) -> None:
    counts = Counter(output for item in items for output in item.outputs)
    inputs = {item.input.resolve() for item in items}
    for item in items:
        for output in item.outputs:
            if counts[output] > 1:
                same = ", ".join(str(each.input) for each in items if output in each.outputs)
                raise UserError(f"{same}: would have the same output {output}; run them one by one.")
            if output.resolve() in inputs or (output.exists() and os.path.samefile(item.input, output)):
                raise UserError(f"--output {output}: would replace an input; give another place.")


def _run_item(
    item: Item, work: Work, facts: Mapping[str, object], journal: Journal, reporter: Reporter, overwrite: bool
) -> dict[str, object]:
    """Do the work unless it is done already; return which of the two, and what the work tells."""
    mark = fingerprint(item.input, {**facts, **item.facts}, item.uses)
    if not overwrite:
        if all(journal.is_done(output, mark) for output in item.outputs):
            reporter.line(f"{item.output} is done already")
            return {"status": "done already"}
        journal.refuse_others(item.outputs)
        if any(output.exists() and not journal.is_done(output, mark) for output in item.outputs):
            reporter.line(f"{item.output} is of other settings or of an input that has changed; it is made again")
    note = work(item, mark, reporter.progress)
    for each in journal.finish(item.output, item.beside.values(), mark):
        reporter.line(f"{each} was of another result and is removed")
    reporter.line(f"-> {', '.join(map(str, item.outputs))}{f' ({note})' if note else ''}")
    return {"status": "done"} | ({"note": note} if note else {})


def reason_of(path: Path, error: Exception) -> str:
    """Return why an input failed, in one line that names it; log what nobody expects."""
    if not isinstance(error, (UserError, OSError)):
        logger.error("%s: unexpected error", path, exc_info=error)
    reason = machine_fault(error) or " ".join(str(error).split()) or type(error).__name__
    return reason if path.name in reason else f"{path}: {reason}"
