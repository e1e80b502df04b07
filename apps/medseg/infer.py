"""`foveal medseg infer`: segment or classify medical images, DICOM and volumes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

logger = logging.getLogger(__name__)

PERCENTILES = (0.5, 99.5)
KINDS = ("image", "dicom", "nifti")


def infer(
    output: Path,
    input: list[Path],
    weights: str,
    suffix: str | None = None,
    axis: int | None = None,
    probabilities: bool = False,
    uncertainty: bool = False,
    overlay: Path | None = None,
    explain: Path | None = None,
    series: str | None = None,
    resample: bool = False,
    page: int | None = None,
    tile: int | Literal["auto", "whole"] = "auto",
    overlap: int | None = None,
    batch: int = 1,
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    tta: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Run a segmentation network or a classifier on medical images.

    A segmentation network takes PNG, JPEG and TIFF images, DICOM files and series, and NIfTI volumes, slice by slice.
    Its masks have the input's size and place: images of class numbers (PNG for JPEG), DICOM segmentations, NIfTI. An
    interrupted run goes on where it was when the same command is given again.

    A classifier takes images and DICOM files, and writes one table of all.

    Values of DICOM and NIfTI are scaled as the weights say. Where they say nothing, a DICOM image is taken as it is
    shown, by the window of its header or else from the 0.5th to the 99.5th percentile, and a volume from the 0.5th to
    the 99.5th percentile of all of it.

    Args:
        output: The file for a single input, else a folder; it also gets a manifest of the run. For a classifier a
            .csv or .json file.
        input: Files, DICOM series, or folders whose files and series are taken; those in folders below are not. A
            folder of DICOM files of which each is an image of its own, such as X-rays, is taken file by file.
        weights: Name of shipped weights, or a checkpoint, safetensors file or exported program.
        suffix: What outputs in a folder end in, such as .nii.gz; that of the input's format if not given.
        axis: Axis of a volume along which its slices are taken, 0, 1 or 2 of the file's (i, j, k); 2 takes DICOM
            slices as they are. That of the weights if not given.
        probabilities: Write the probability of each class in place of labels.
        uncertainty: Write too how far mirrored views of the input disagree: the variance of the probabilities, 0 to
            0.25, as a second output named ..._uncertainty; in images 0.25 is white. Eight times slower.
        overlay: Folder for pictures with outlines of the classes over the image or over slices of the volume.
        explain: Folder for pictures of where the network looks at an image; named ..._explain.png, none of volumes.
        series: DICOM, which series of a folder to take; its number in the list that is shown, or UID.
        resample: DICOM, bring tilted or unevenly spaced slices onto an even grid.
        page: TIFF images, the page to read, counted from 1.
        tile: Side of a tile in input samples; "whole" computes a slice in one pass.
        overlap: Input samples that neighbouring tiles share; the weights say how many if not given.
        batch: Tiles, or images to classify, computed at once.
        device: Where to compute: auto, cpu, cuda, cuda:1 and so on.
        precision: What the network computes in; lower ones are faster on GPUs.
        tta: Average over flips and transposes, eight times slower; of a classifier over the mirror image, twice.
        overwrite: Replace outputs that exist already.
        quiet: Report nothing but errors.

    Raises:
        UserError: an option, the weights or an input does not fit.

    Example:
        foveal medseg infer --weights last.ckpt --input patient.nii.gz --output organs.nii.gz --overlay pictures
    """
    from ...core.errors import UserError
    from ...core.inference.command import make_engine, open_program
    from ...data.infer import Wanted, run_files

    program, facts = open_program("medseg", weights, device)
    options: dict[str, Any] = {"series": series, "resample": resample, "page": page}
    if program.card.kind == "classes":
        from .classify import classify

        dense = {"suffix": suffix, "axis": axis, "probabilities": probabilities, "uncertainty": uncertainty}
        dense |= {**options, "overlay": overlay, "tile": None if tile == "auto" else tile, "overlap": overlap}
        for name, value in dense.items():
            if value is not None and value is not False:
                logger.warning("--%s has no effect: %s classifies whole images.", name, weights)
        classify(program, facts, input, output, explain, batch, device, precision, tta, overwrite, quiet)
        return
    engine, facts = make_engine(program, facts, tile, overlap, device, precision, tta, batch=batch)
    if axis is not None:
        if axis not in (0, 1, 2):
            raise UserError(f"--axis {axis}: a volume has the axes 0, 1 and 2.")
        engine = engine.with_card(axis=axis)
    wanted = Wanted(suffix, probabilities, uncertainty, overlay, explain)
    facts["axis"] = engine.card.axis
    run_files(engine, facts, input, output, options, KINDS, wanted, False, overwrite, quiet, shown_intensity)


def shown_intensity(source: Any, kind: str) -> dict[str, Any]:
    """Return how values become those of a network that was trained on images, as `intensity` of a card.

    Args:
        source: the opened file.
        kind: its format.
    """
    from ...core.inference.windows import whole
    from ...data.unit_image import shown_range

    channels = source.shape[-source.spatial - 1]
    if kind == "image" or (kind == "dicom" and channels == 3):
        return {}  # in the range of the network already
    if kind == "nifti" or source.spatial == 3:
        return {"percentiles": list(PERCENTILES)}
    low, high = shown_range(source, source.read(whole(source.shape[1:])))
    return {"window": [low, high if high > low else low + 1.0]}
