"""Which files make a case: one volume, or the channels of one in files that are numbered as nnU-Net does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...core.inference.batch import find_inputs
from ...core.inference.windows import slabs, whole
from ...core.weights.card import Card
from ...data.datasets.channel_files import NUMBERED
from ...data.io.formats import NIFTI_SUFFIXES, input_suffixes, split_name
from ...data.volume_channels import KINDS, open_volume
from ...data.volume_checks import check_spacing, check_values

Files = tuple[Path, ...]


def find_cases(inputs: Sequence[Path], channels: int, is_input: Callable[[Path], bool]) -> dict[Path, Files]:
    """Return the files of each case, by the first of them.

    Args:
        inputs: files, DICOM series, and folders of these.
        channels: of the network; for a network of one, every file is a case.
        is_input: tells whether a folder is one input, such as a DICOM series, or a file is one in spite of its name.

    Raises:
        UserError: an input is missing, or a folder holds none.
    """
    found: dict[Path, Files] = {}
    numbered: dict[Path, list[Path]] = {}
    for path in (each for given in inputs for each in find_inputs(given, input_suffixes(KINDS), is_input)):
        files: Files = (path,)
        if channels > 1 and _place(path):
            if path.parent not in numbered:
                numbered[path.parent] = sorted(each for each in path.parent.iterdir() if _place(each))
            files = tuple(each for each in numbered[path.parent] if _place(each)[::2] == _place(path)[::2])
        found[files[0]] = files
    return found


def case_name(files: Files) -> str:
    """Return what a case is called: as its file or folder, without the number of a channel."""
    path = files[0]
    if path.is_dir():
        return path.name
    if place := _place(path):
        case, number, suffix = place
        is_whole = len(files) > 1 or not path.with_name(f"{case}_0001{suffix}").exists()
        return case if is_whole and number == "0000" else f"{case}_{number}"
    stem, suffix = split_name(path)
    return stem if suffix.lower() in input_suffixes(KINDS) else path.name


def open_case(files: Files, card: Card, **options: Any) -> Any:
    """Open a case for reading; what it holds is looked at.

    Args:
        files: its channels, or one file or folder that has all.
        card: of the network.
        options: of the sources, each used by the formats that have it.

    Raises:
        UserError: a file is missing or damaged, the case is no volume of the network's channels, does not say where its
            voxels lie, or holds one value alone or values that are no numbers.
    """
    _check_numbers(files, card)
    source = open_volume(files, **options)
    try:
        _check(files, source, card)
    except BaseException:
        source.close()
        raise
    return source


def _check_numbers(files: Files, card: Card) -> None:
    """Refuse files that are not one for each channel of the network."""
    if len(card.channels) == 1 or not _place(files[0]):
        return
    found = [_place(each)[1] for each in files]
    needed = [f"{number:04d}" for number in range(len(card.channels))]
    if found != needed:
        raise UserError(
            f"{files[0]}: the case has the channels {', '.join(found)}; the network takes {', '.join(needed)} "
            f"({', '.join(card.channels)})."
        )


def _check(files: Files, source: Any, card: Card) -> None:
    if source.shape[0] != len(card.channels):
        found = f"{source.shape[0]} volumes (4D)" if source.shape[0] > 1 else "one volume"
        raise UserError(
            f"{files[0]}: holds {found}; the network takes {len(card.channels)} ({', '.join(card.channels)})."
        )
    if source.geometry is None:
        raise UserError(f"{files[0]}: does not say where its images lie, so they make no volume.")
    check_spacing(files, source)
    _check_values(files, source)


def _check_values(files: Files, source: Any) -> None:
    """Read until it is sure that every channel varies; where the file can hold what is no number, to its end."""
    lows = highs = None
    for window in slabs(whole(source.shape[1:])):
        values = source.read(window).reshape(source.shape[0], -1)
        ends = values.min(axis=1), values.max(axis=1)
        lows, highs = ends if lows is None else (np.minimum(lows, ends[0]), np.maximum(highs, ends[1]))
        if np.dtype(source.dtype).kind != "f" and (lows < highs).all():
            break
    check_values(files, getattr(source, "not_finite", 0), lows, highs)


def _place(path: Path) -> tuple[str, str, str] | None:
    """Return case, number of the channel and suffix of a NIfTI file that has a number; else None."""
    stem, suffix = split_name(path)
    match = NUMBERED.fullmatch(stem)
    return (match[1], match[2], suffix) if match and suffix.lower() in NIFTI_SUFFIXES else None
