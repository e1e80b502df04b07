"""Reads many damaged files and tells what became of them: `python -m foveal.tests.fuzz --format image --count 500`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import campaign, samples
from .pool import GOOD, OUTCOMES, Limits


def main() -> int:
    """Run a campaign; the exit code is 1 where a mutant was neither read nor clearly refused."""
    options = _options()
    save = options.save or Path(tempfile.gettempdir()) / "foveal-fuzz" / options.format
    with tempfile.TemporaryDirectory() as folder:
        if options.series:
            sources = options.input
        else:
            sources = campaign.found_files(options.input or samples.make(options.format, Path(folder)), options.format)
        if not sources:
            sys.exit(f"no {options.format} files in {', '.join(map(str, options.input))}")
        megabytes = options.megabytes or campaign.MEGABYTES.get(options.format, Limits.megabytes)
        limits = Limits(seconds=options.seconds, megabytes=megabytes)
        reader = f"foveal.tests.fuzz.{'inference' if options.infer else 'readers'}:{options.format}"
        trials = campaign.run(reader, sources, options.count, options.seed, options.workers, limits, save)
        kinds, bad, slowest, largest = Counter(), [], 0.0, 0.0
        for trial in trials:
            kinds[trial.damage, trial.outcome.kind] += 1
            slowest, largest = max(slowest, trial.outcome.seconds), max(largest, trial.outcome.megabytes)
            if options.reasons and trial.outcome.kind == "refused":
                print(f"{trial.source.name} {trial.damage} {trial.seed}: {trial.outcome.reason}", file=sys.stderr)
            if trial.outcome.kind not in GOOD:
                bad.append(trial)
                print(f"{trial.outcome.kind}: {trial.saved}: {trial.outcome.reason[:400]}", flush=True)
    _show(kinds, f"{options.count} mutants of {len(sources)} {options.format} files, seed {options.seed}")
    print(f"slowest {slowest:.1f} s, largest growth {largest:.0f} MB" + (f"; kept in {save}" if bad else ""))
    return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m foveal.tests.fuzz", description=__doc__)
    parser.add_argument("--format", required=True, choices=campaign.SUFFIXES)
    parser.add_argument("--input", type=Path, nargs="*", default=[], help="files or folders; tiny samples if not given")
    parser.add_argument(
        "--series", action="store_true", help="each folder given is one input, of which one file is hit"
    )
    parser.add_argument("--infer", action="store_true", help="also run a program; nothing partial may stay")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="of computation for one file")
    parser.add_argument("--megabytes", type=float, help="of growth for one file")
    parser.add_argument("--save", type=Path, help="folder for failing mutants")
    parser.add_argument("--reasons", action="store_true", help="print every refusal to stderr")
    return parser.parse_args()


def _show(kinds: Counter[tuple[str, str]], title: str) -> None:
    table = Table(title=title)
    for name in ("damage", *OUTCOMES, "all"):
        table.add_column(name, justify="left" if name == "damage" else "right")
    damages = sorted({damage for damage, _ in kinds})
    for damage in damages:
        counts = [kinds[damage, each] for each in OUTCOMES]
        table.add_row(damage, *(str(each or "") for each in (*counts, sum(counts))))
    table.add_section()
    totals = [sum(kinds[damage, each] for damage in damages) for each in OUTCOMES]
    table.add_row("all", *map(str, (*totals, sum(totals))))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
