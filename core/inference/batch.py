"""Many inputs, one after the other: finished ones are skipped, bad ones told and passed over."""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .engine import Progress
from .journal import Journal, fingerprint
from .progress import Reporter

logger = logging.getLogger(__name__)


class Item(NamedTuple):
    """An input file and the output to make of it."""

    input: Path
    output: Path


Work = Callable[[Item, str, Progress], None]
"""Makes the output of an item; gets its fingerprint, for sinks that can go on, and what to tell about rows."""


def pair_paths(inputs: Sequence[Path], output: Path, suffixes: Collection[str]) -> list[Item]:
    """Say which output belongs to which input.

    A single input file may have an output file. In all other cases the output is a folder, where every output has the
    name of its input. Of a folder the files with a known suffix are taken, sorted, without those in folders below.

    Args:
        inputs: files and folders.
        output: a file or a folder; what is no folder yet and has a known suffix is a file.
        suffixes: the known suffixes of inputs, lower case, with the dot.

    Raises:
        UserError: an input is missing or a folder is empty, two inputs would have the same output, or an output would
            replace an input.
    """
    files = [file for path in inputs for file in _files(path, suffixes)]
    is_file = output.suffix.lower() in suffixes and not output.is_dir()
    if is_file and (len(files) > 1 or inputs[0].is_dir()):
        raise UserError(f"--output {output}: is one file for {len(files)} inputs; give a folder.")
    if not is_file and not output.is_dir() and (output.is_file() or (output.suffix and list(inputs) == files[:1])):
        raise UserError(
            f"--output {output}: is neither a folder nor named as an image; end it in one of "
            f"{', '.join(sorted(suffixes))}, or make the folder first."
        )
    items = [Item(file, output if is_file else output / file.name) for file in files]
    _refuse_clashes(items)
    return items


def run_batch(
    items: Sequence[Item], work: Work, facts: Mapping[str, object], overwrite: bool = False, quiet: bool = False
) -> None:
    """Do the work for every item, and raise at the end if any failed.

    Args:
        items: what to do, all outputs in one folder.
        work: does it; a UserError or OSError, or a bug, fails its item alone. A full disk ends the batch.
        facts: what the outputs depend on beside their inputs (weights, options).
        overwrite: do finished items again, and replace files that are not in the journal.
        quiet: report nothing but the failures.

    Raises:
        UserError: items failed; the message lists them with their reasons.
    """
    journal = Journal(items[0].output.parent)
    failures: list[str] = []
    with Reporter(len(items), quiet) as reporter:
        for item in items:
            reporter.start(item.input.name)
            try:
                _run_item(item, work, facts, journal, reporter, overwrite)
            except Exception as error:
                if len(items) == 1 or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
                    raise
                failures.append(_told(item, error))
                reporter.line(f"failed: {failures[-1]}")
    if failures:
        raise UserError(f"{len(failures)} of {len(items)} inputs failed, the others are done:\n" + "\n".join(failures))


def _files(path: Path, suffixes: Collection[str]) -> list[Path]:
    if not path.is_dir():
        if not path.exists():
            raise UserError(f"--input {path}: there is no such file or folder.")
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file() and _is_wanted(file, suffixes))
    if not files:
        raise UserError(f"--input {path}: the folder holds no file that ends in {', '.join(sorted(suffixes))}.")
    return files


def _is_wanted(file: Path, suffixes: Collection[str]) -> bool:
    return file.suffix.lower() in suffixes and not file.name.startswith(".")


def _refuse_clashes(items: Sequence[Item]) -> None:
    counts = Counter(item.output for item in items)
    inputs = {item.input.resolve() for item in items}
    for item in items:
        if counts[item.output] > 1:
            same = ", ".join(str(each.input) for each in items if each.output == item.output)
            raise UserError(f"{same}: would have the same output {item.output}; run them one by one.")
        if item.output.resolve() in inputs or (item.output.exists() and os.path.samefile(item.input, item.output)):
            raise UserError(f"--output {item.output}: would replace an input; give another place.")


def _run_item(
    item: Item, work: Work, facts: Mapping[str, object], journal: Journal, reporter: Reporter, overwrite: bool
) -> None:
    mark = fingerprint(item.input, facts)
    if not overwrite:
        if journal.is_done(item.output, mark):
            reporter.line(f"{item.output} is done already")
            return
        if item.output.exists() and not journal.knows(item.output):
            raise UserError(f"{item.output}: exists already; give --overwrite to replace it, or another --output.")
    work(item, mark, reporter.rows)
    journal.record(item.output, mark)
    reporter.line(f"-> {item.output}")


def _told(item: Item, error: Exception) -> str:
    """Return the reason in one line that names the input."""
    if not isinstance(error, (UserError, OSError)):
        logger.error("%s: unexpected error", item.input, exc_info=error)
    reason = " ".join(str(error).split()) or type(error).__name__
    return reason if item.input.name in reason else f"{item.input}: {reason}"
