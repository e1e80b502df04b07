"""A config for a folder of medical images with masks, or with a class each."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

logger = logging.getLogger(__name__)

LAYOUT = """FOLDER/images/<name>.png    or .jpg, .tif, .dcm, .nii.gz
FOLDER/masks/<name>.png     of the same names, holding 0 for the background, 1, 2 ... for the classes
or one class for each image:
FOLDER/<class>/<name>.png   a folder for each class; or FOLDER/train/<class> ..., FOLDER/test/<class> ..., or
FOLDER/labels.csv           with the columns path, label and, where known, patient"""


def init(
    input: Path,
    labels: Path | None = None,
    output: Path | None = None,
    patient: str | None = None,
    label_column: str | None = None,
    size: Literal["auto", "light", "full"] = "auto",
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Look at a folder of medical images, and write a config that trains on it.

    Images with masks (PNG, JPEG, TIFF, DICOM; NIfTI slice by slice) become a segmentation; a CSV file of classes, or a
    folder for each class, a classification. Images of one patient stay in one part, where a column, DICOM headers or
    names tell whose they are.

    Args:
        input: Folder that holds images and masks, or images with a CSV file, or a folder for each class; or that of
            the images, where --labels is given.
        labels: Folder of the masks, or CSV file of the classes.
        output: The YAML file to write; FOLDER.yaml here if not given. The split goes beside it.
        patient: Regular expression whose first group, searched in a name, is the patient, such as "^(P[0-9]+)_".
        label_column: Column of the class in the CSV file; found if not given.
        size: Of the network and the training: light needs no GPU, full is for one; auto is full where there are a GPU
            and at least ten cases to train on.
        seed: Another seed gives another split.
        overwrite: Replace files that exist already.

    Raises:
        UserError: something is missing or cannot be used.

    Example:
        foveal init medseg radiographs --label_column diagnosis
    """
    from ...data.init_config import places_of
    from ...data.init_folders import MASKS, folder_named, roots_of
    from .init_classes import init_classes
    from .init_masks import init_masks

    places = places_of(input, output, overwrite)
    has_masks = labels.is_dir() if labels else folder_named(roots_of(input)["train"], MASKS)
    if has_masks:
        if label_column:
            logger.warning("--label_column has no effect: %s has masks, which hold the classes.", input)
        init_masks(input, labels, places, patient, size, seed, LAYOUT)
    else:
        init_classes(input, labels, places, patient, label_column, size, seed, LAYOUT)
