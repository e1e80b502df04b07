"""Check endoscopy pictures and their masks before training."""

from __future__ import annotations

from pathlib import Path


def check(input: Path, labels: Path | None = None, json: Path | None = None) -> int:
    """Read every picture of a folder; tell which cannot be used, and what the others have in common.

    PNG, JPEG, TIFF and BMP: counts, sizes, depth, ranges of values, duplicates, nearly empty pictures, and a
    fingerprint; with masks, also how much of them is polyp, and whether every mask has the size of its picture.

    Args:
        input: Folder of pictures, those in it included, or one picture.
        labels: Folder of the masks, which have the names of the pictures.
        json: File for the report with everything about each picture.

    Returns:
        The exit code: 1 where a picture cannot be used, or masks do not fit.

    Example:
        foveal polyp check --input images --labels masks
    """
    from ...data.check import check_and_print

    return check_and_print(input, labels, json, ("image",))
