"""Check pictures taken through a display, and their clean partners, before training."""

from __future__ import annotations

from functools import partial
from pathlib import Path


def check(input: Path, clean: Path | None = None, json: Path | None = None) -> int:
    """Read every picture of a folder; tell which cannot be used, and what the others have in common.

    PNG, JPEG, TIFF and BMP: counts, sizes, depth, ranges of values, duplicates, saturated and constant pictures, and a
    fingerprint; with the clean partners also whether each has one of its size and depth, and by how many pixels the
    two lie apart.

    Args:
        input: Folder of pictures taken through the display, those in it included, or one picture.
        clean: Folder of the clean pictures, which have the names of the others.
        json: File for the report with everything about each picture.

    Returns:
        The exit code: 1 where a picture cannot be used, or has no fitting partner.

    Raises:
        UserError: a folder is missing or holds no picture.

    Example:
        foveal udc check --input train/poled/degraded --clean train/poled/clean
    """
    from ...core.errors import UserError
    from ...data.check import check_and_print
    from ...data.inventory import take_inventory
    from .pair_checks import check_pictures

    try:
        pictures = take_inventory(clean, ("image",)).items if clean else []
    except UserError as error:
        raise UserError(f"--clean {error}") from None
    look = partial(check_pictures, clean=clean, pictures=pictures)
    return check_and_print(input, json=json, kinds=("image",), look=look)
