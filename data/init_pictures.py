"""What `init` chooses for networks that make one picture of another: patches and lengths of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from ..core.errors import UserError
from .checks import Report
from .datasets.image_folder import pictures_in
from .init_folders import expected

STEPS = 500  # of an epoch, about


def flat_pictures(folder: Path, layout: str) -> list[str]:
    """Return the names of the pictures of one folder, without suffix.

    Args:
        folder: that holds them; those in it do not count.
        layout: what was expected, for the error.

    Raises:
        UserError: there are none, or two have one name.
    """
    files = pictures_in(folder)
    if not files:
        raise UserError(f"{folder}: holds no pictures such as *.png, *.jpg or *.tif. {expected(layout)}")
    names = [each.stem for each in files]
    twice = next((name for name, after in pairwise(names) if name == after), None)
    if twice:
        raise UserError(f"{folder}: holds two pictures of the name {twice}; rename one of them.")
    return names


def patch_of(reports: Sequence[Report], wanted: int, scale: int = 1, multiple: int = 8) -> tuple[int, str]:
    """Return the side of a training patch in pixels that the network sees, and why.

    Args:
        reports: of the pictures.
        wanted: the side where pictures are large enough.
        scale: of the network.
        multiple: of which the side is one.

    Raises:
        UserError: a picture is too small for any.
    """
    smallest = min((each for report in reports for each in report.usable), key=lambda each: min(each.facts.extent))
    side = min(smallest.facts.extent)
    patch = min(wanted, side // scale // multiple * multiple)
    if patch < multiple:
        raise UserError(
            f"{smallest.item.path}: is {side} pixels at its shorter side, less than the {multiple * scale} of a "
            "patch; take it away."
        )
    why = f"pixels that the network sees; the smallest picture is {side} at its shorter side"
    return patch, why if patch < wanted else f"{why}, and larger patches cost more memory"


def repeats_for(pictures: int, batch: int) -> tuple[int, str]:
    """Return how often a picture gives a patch in an epoch, and why."""
    repeats = max(STEPS * batch // pictures, 1)
    return repeats, f"one epoch is about {repeats * pictures // batch} steps of {batch} patches"
