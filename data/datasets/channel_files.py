"""Volumes with a file for each channel, numbered as nnU-Net does: `<name>_0000.nii.gz`, `<name>_0001.nii.gz` ..."""

from __future__ import annotations

import re
from pathlib import Path

from ...core.errors import UserError
from .masked_samples import natural_order
from .stem_pairs import stem_of

ENDINGS = (".nii.gz", ".nii")
NUMBERED = re.compile(r"(.+)_(\d{4})")

Found = list[tuple[str, tuple[Path, ...], Path]]
"""(name, a file for each channel, file of the labels)"""


def files_in(folder: Path, endings: tuple[str, ...] = ENDINGS) -> list[Path]:
    """Return the files of a folder that end so, by name with numbers in their order; hidden ones are passed over.

    Raises:
        UserError: the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder.")
    files = [each for each in folder.iterdir() if each.name.endswith(endings) and not each.name.startswith(".")]
    if not files:
        raise UserError(f"{folder}: holds no files *{', *'.join(endings)}.")
    return sorted(files, key=lambda each: (natural_order(each.name), each.name))


def numbered_cases(
    images: Path, labels: Path, channels: int | None = None, endings: tuple[str, ...] = ENDINGS
) -> Found:
    """Return the volumes of a folder with their labels, which have the name without a number.

    Args:
        images: folder of the volumes.
        labels: folder of the labels.
        channels: files of each volume; None for as many as the first has.
        endings: of the files' names.

    Raises:
        UserError: a folder is missing or empty, a name has no number, or a channel or the labels of a volume are
            missing.
    """
    files: dict[str, dict[int, Path]] = {}
    for path in files_in(images, endings):
        match = NUMBERED.fullmatch(stem_of(path))
        if match is None:
            raise UserError(f"{path}: the name must end in the number of the channel, such as {stem_of(path)}_0000.")
        files.setdefault(match[1], {})[int(match[2])] = path
    wanted = range(channels or len(next(iter(files.values()))))
    for name, found in files.items():
        if [*sorted(found)] != [*wanted]:
            raise UserError(
                f"{images}: {name} has the channels {', '.join(map(str, sorted(found)))}; expected "
                f"{', '.join(map(str, wanted))}."
            )
    truths = {stem_of(each): each for each in files_in(labels, endings)}
    if missing := [name for name in files if name not in truths]:
        raise UserError(
            f"{labels}: has no labels of {len(missing)} of {len(files)} volumes, the first is {missing[0]}; add them, "
            "or take these volumes away."
        )
    return [(name, tuple(found[number] for number in wanted), truths[name]) for name, found in files.items()]
