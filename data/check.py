"""`check`: what the commands of all apps, and `foveal check`, do. Imports nothing heavy before it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checks import Progress, Report
    from .io.formats import Kind


def check(
    input: Path,
    labels: Path | None = None,
    json: Path | None = None,
    slide_mpp: float | None = None,
    resample: bool = False,
) -> int:
    """Read every file of a folder and tell what it holds before a long run.

    Images, DICOM files and series, NIfTI, GeoTIFF and whole slides: counts, sizes, spacings, ranges of values,
    duplicates, nearly empty files, files that cannot be used and why, and a fingerprint of all. With labels, also how
    many samples each class has, and whether every label lies where its image does.

    Args:
        input: Folder, those in it included, or a single file.
        labels: Folder of the labels, which have the names of the images ("_label", "_mask" or "_seg" may follow).
        json: File for the report with everything about each file.
        slide_mpp: Slides, micrometres per pixel of the finest level where the file does not tell.
        resample: DICOM, take series of tilted or unevenly spaced slices.

    Returns:
        The exit code: 1 where a file cannot be used, or labels do not fit.

    Example:
        foveal check --input images --labels masks --json report.json
    """
    return check_and_print(input, labels, json, options={"slide_mpp": slide_mpp, "resample": resample})


def check_and_print(
    input: Path,
    labels: Path | None = None,
    json: Path | None = None,
    kinds: tuple[Kind, ...] | None = None,
    options: Mapping[str, Any] | None = None,
    apart: float = 0.0,
    look: Callable[[Report], None] | None = None,
) -> int:
    """Check a folder, print the report and write it as JSON; return the exit code.

    Args:
        input: see `check`.
        labels: see `check`.
        json: see `check`.
        kinds: the formats to look for; None for all.
        options: of the sources by name, each used by the formats that have it.
        apart: see `checks.check_folder`.
        look: adds to the report what an app looks at beside.

    Raises:
        UserError: a folder is missing or holds nothing of these formats.
    """
    from .checks import check_folder
    from .io.formats import KINDS

    def read(tell: Progress) -> Report:
        report = check_folder(input, labels, kinds or KINDS, options, tell, apart)
        if look:
            look(report)
        return report

    return read_and_print(read, json)


def read_and_print(read: Callable[[Progress], Report], json: Path | None = None) -> int:
    """Let a report be made, print it and write it as JSON; return the exit code.

    Args:
        read: makes it; is given what is to be told how many files are done.
        json: see `check`.
    """
    from ..core.atomic import refuse_folder
    from .check_table import print_report
    from .checks import write_report

    if json:
        refuse_folder(json)
    report = with_progress(read)
    if json:
        write_report(report, json)
    print_report(report)
    return 0 if report.is_good else 1


def with_progress(read: Callable[[Progress], Report]) -> Report:
    """Return a report, showing on a terminal how far its making is.

    Args:
        read: makes it; is given what is to be told how many files are done.
    """
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        return read(lambda done, total: bar.update(task, completed=done, total=total))
