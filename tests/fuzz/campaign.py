"""A campaign: many seeded mutants of some files, each read once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .mutate import mutated
from .pool import GOOD, Limits, Outcome, Pool

ROUND = 100  # mutants on disk at a time
SUFFIXES = {
    "image": (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"),
    "dicom": (".dcm", ".dicom", ".ima", ""),
    "nifti": (".nii", ".nii.gz", ".hdr", ".img"),
    "geotiff": (".tif", ".tiff"),
    "slide": (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".dcm"),
}
MEGABYTES = {"slide": 512.0}  # the overview, of at most 2048 pixels along a side, and its mask take up to 250


@dataclass(frozen=True)
class Trial:
    """One mutant and what became of it.

    Attributes:
        source: the sound file.
        damage: name of the mutator.
        seed: of the mutator.
        outcome: of reading.
        saved: where the mutant is kept, if it failed.
    """

    source: Path
    damage: str
    seed: int
    outcome: Outcome
    saved: Path | None = None


def found_files(inputs: Sequence[Path], form: str) -> list[Path]:
    """Return the files of a format in files and folders, sorted."""
    files = []
    for path in inputs:
        inner = [each for each in sorted(path.rglob("*")) if each.is_file()] if path.is_dir() else [path]
        files += [each for each in inner if path == each or _is_of(each, form)]
    return files


def run(
    reader: str,
    sources: Sequence[Path],
    count: int,
    seed: int = 0,
    workers: int = 1,
    limits: Limits | None = None,
    save: Path | None = None,
) -> Iterator[Trial]:
    """Read mutants of the sources, the same ones for the same seed; give what became of each as it is known.

    Args:
        reader: import path "package.module:function" of what reads a file.
        sources: sound files, or folders that make one input together, of which one file is damaged.
        count: of mutants.
        seed: tells the mutants.
        workers: processes at a time.
        limits: for each mutant.
        save: folder in which failing mutants are kept.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, Pool(reader, limits, workers) as pool:
        for first in range(0, count, ROUND):
            seeds = range(seed * 1_000_003 + first, seed * 1_000_003 + min(first + ROUND, count))
            made = [_mutant(sources[each % len(sources)], each, Path(folder)) for each in seeds]
            outcomes = pool.outcomes([path for path, _ in made])
            for (path, damage), each, outcome in zip(made, seeds, outcomes, strict=True):
                saved = _keep(path, save) if save and outcome.kind not in GOOD else None
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                yield Trial(sources[each % len(sources)], damage, each, outcome, saved)


def _mutant(source: Path, seed: int, folder: Path) -> tuple[Path, str]:
    """Write a mutant into the folder; return it and the damage."""
    stem, dot, suffixes = source.name.partition(".") if source.is_file() else (source.name, "", "")
    path = folder / f"{stem}~{seed}{dot}{suffixes}"
    if source.is_file():
        damage, data = mutated(source.read_bytes(), _spread(seed))
        path.write_bytes(data)
        return path, damage
    files = sorted(each for each in source.rglob("*") if each.is_file() and each.stat().st_size)
    victim = files[_spread(seed) % len(files)]
    for each in files:
        copy = path / each.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if each == victim:
            damage, data = mutated(each.read_bytes(), _spread(seed))
            copy.write_bytes(data)
        else:
            os.symlink(each.resolve(), copy)
    return path, damage


def _spread(seed: int) -> int:
    """Return a number without a rhythm, so that every file meets every mutator."""
    return (seed * 2_654_435_761 % 2**32) >> 7


def _keep(path: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / path.name
    if path.is_dir():
        shutil.copytree(path, kept, dirs_exist_ok=True)
    else:
        shutil.copy(path, kept)
    return kept


def _is_of(path: Path, form: str) -> bool:
    name = path.name.lower()
    return any(name.endswith(suffix) if suffix else "." not in name for suffix in SUFFIXES[form])
