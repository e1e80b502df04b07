"""Check volumes and their labels before training."""

from __future__ import annotations

from pathlib import Path


def check(input: Path, labels: Path | None = None, json: Path | None = None, resample: bool = False) -> int:
    """Read every volume of a folder; tell which cannot be used, and what the others have in common.

    NIfTI, and DICOM series: counts, sizes, spacings, ranges of values, duplicates, and a fingerprint. With labels also
    the voxels of each class, whether every label map lies where its volume does and holds the classes alone, and what a
    training would be planned by: spacing, axes, size and the values of objects.

    Args:
        input: Folder of a dataset of nnU-Net or the Medical Segmentation Decathlon, which holds dataset.json; or one
            that holds images/ and labels/; or a folder of volumes, those in it included, or one volume.
        labels: Folder of the label maps, which have the names of the volumes ("_label", "_mask" or "_seg" may follow).
        json: File for the report with everything about each volume.
        resample: DICOM, take series of tilted or unevenly spaced slices.

    Returns:
        The exit code: 1 where a volume cannot be used, or labels do not fit.

    Example:
        foveal volseg check --input Task04_Hippocampus
    """
    from functools import partial

    from ...data.check import check_and_print
    from ...data.volume_channels import APART, KINDS
    from .dataset import look_at, parts_of

    images, label_maps, layout = parts_of(input, labels)
    look = partial(look_at, layout=layout)
    return check_and_print(images, label_maps, json, KINDS, {"resample": resample}, APART, look)
