"""Check slides, features and labels before training."""

from __future__ import annotations

from pathlib import Path


def check(
    input: Path | None = None,
    features: Path | None = None,
    labels: Path | None = None,
    slide_column: str = "slide",
    label_column: str = "label",
    patient_column: str = "patient",
    split_column: str = "split",
    slide_mpp: float | None = None,
    json: Path | None = None,
) -> int:
    """Look at slides, at features of slides, or at both; tell which cannot be used, and whether their labels fit.

    Of slides: resolution, tissue, and 64 places of every level, where damage shows. Of features: width, values that are
    no numbers, encoder and tiles, bags of one tile. Of labels: slides without a label and labels without a slide,
    patients in several parts.

    Args:
        input: Folder of slides, those in it included, or one slide.
        features: Folder of the slides' features (.h5, .pt), or one HDF5 file with a group for each slide.
        labels: CSV file with a line for each slide, as for `fit`.
        slide_column: Its column of the slide.
        label_column: Its column of the class.
        patient_column: Its column of the patient, used where it has it.
        split_column: Its column of the part, such as train and test, used where it has it.
        slide_mpp: Micrometres per pixel of the finest level where a slide does not tell.
        json: File for the report with everything about each slide.

    Returns:
        The exit code: 1 where a slide or its features cannot be used, or labels do not fit.

    Raises:
        UserError: neither slides nor features are given, or there are none, or the table cannot be read.

    Example:
        foveal wsi check --input slides --features features --labels labels.csv
    """
    from ...core.errors import UserError
    from ...data.check import read_and_print
    from .dataset_checks import Table, check_dataset

    if input is None and features is None:
        raise UserError("--input or --features must be given: a folder of slides, or one of their features.")
    table = Table.read(labels, slide_column, label_column, patient_column, split_column) if labels else None
    return read_and_print(lambda tell: check_dataset(input, features, table, slide_mpp, tell), json)
