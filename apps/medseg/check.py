"""Check medical images and their labels before training."""

from __future__ import annotations

from pathlib import Path


def check(input: Path, labels: Path | None = None, json: Path | None = None, resample: bool = False) -> int:
    """Read every image of a folder; tell which cannot be used, and what the others have in common.

    Images, DICOM files and series, NIfTI: counts, sizes, spacings, ranges of values, duplicates, nearly empty files,
    and a fingerprint; with labels, also how many samples each class has, and whether every label fits its image.

    Args:
        input: Folder of images, those in it included, or one image.
        labels: Folder of the masks, which have the names of the images ("_label", "_mask" or "_seg" may follow).
        json: File for the report with everything about each image.
        resample: DICOM, take series of tilted or unevenly spaced slices.

    Returns:
        The exit code: 1 where an image cannot be used, or labels do not fit.

    Example:
        foveal medseg check --input images --labels masks
    """
    from ...data.check import check_and_print

    return check_and_print(input, labels, json, ("image", "dicom", "nifti"), {"resample": resample})
