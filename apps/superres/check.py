"""Check images before training."""

from __future__ import annotations

from pathlib import Path


def check(input: Path, json: Path | None = None) -> int:
    """Read every image of a folder; tell which cannot be used, and what the others have in common.

    PNG, JPEG, TIFF and BMP: counts, sizes, depth, ranges of values, duplicates, nearly empty images, and a fingerprint.

    Args:
        input: Folder of images, those in it included, or one image.
        json: File for the report with everything about each image.

    Returns:
        The exit code: 1 where an image cannot be used.

    Example:
        foveal superres check --input photographs
    """
    from ...data.check import check_and_print

    return check_and_print(input, json=json, kinds=("image",))
