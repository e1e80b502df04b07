"""`foveal volseg convert`: DICOM series and their labels, as a dataset that a training reads."""

from __future__ import annotations

from pathlib import Path


def convert(input: Path, output: Path, labels: Path | None = None, quiet: bool = False) -> None:
    """Write DICOM series and their labels as NIfTI, laid out as the Medical Segmentation Decathlon does.

    Labels are DICOM segmentations, which say what series they are of, or NIfTI files that have the name of the folder
    of a series. They are brought to the voxels of their series without interpolation. Series without labels are left
    out. Names of the segments become those of the classes. Files are named by a number of the patient, so that names
    and identifiers stay behind; series.csv tells which folder each is of.

    Args:
        input: Folder of DICOM series, with segmentations anywhere in it.
        output: Folder to write: imagesTr, labelsTr, dataset.json and series.csv.
        labels: Folder of the labels, where they lie elsewhere.
        quiet: Report nothing but errors.

    Raises:
        UserError: there are no series with labels, they are of several modalities, or the output holds a dataset.
        FailedInputs: some series could not be converted; the others are.

    Example:
        foveal volseg convert --input studies --output dataset
    """
    from .conversion import convert_studies

    convert_studies(input, output, labels, quiet)
