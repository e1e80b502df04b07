"""`foveal report RUN`: writes the report of a run folder."""

from __future__ import annotations

import sys
from pathlib import Path

from ..atomic import written_beside
from .page import page
from .read import read_run

NAME = "report.html"


def report(run: Path, output: Path | None = None) -> None:
    """Write what a run did, learnt and found as one HTML page that needs nothing else.

    Args:
        run: the run folder.
        output: the file to write; report.html in the run folder where not given.

    Example:
        foveal report runs/superres/quickstart_dlgsanet
    """
    path = output or run / NAME
    text = page(read_run(run))
    with written_beside(path) as part:
        part.write_text(text, encoding="utf-8")
    print(f"report in {path}", file=sys.stderr)


def report_anyway(run: Path) -> None:
    """Write the report at the end of a command; what it fails on is told in one line and stops nothing."""
    try:
        report(run)
    except Exception as error:
        line = " ".join(str(error).split()) or type(error).__name__
        print(f"warning: no report of {run}: {line}", file=sys.stderr)
