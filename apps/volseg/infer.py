"""`foveal volseg infer`: label maps of CT and MR volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def infer(
    output: Path,
    input: list[Path],
    weights: list[str],
    suffix: list[str] | None = None,
    probabilities: bool = False,
    uncertainty: bool = False,
    largest_component: list[str] | None = None,
    smallest_ml: list[str] | None = None,
    report: bool = True,
    explain: Path | None = None,
    series: str | None = None,
    resample: bool = False,
    tile: int | Literal["auto", "whole"] = "auto",
    overlap: int | None = None,
    blend: Literal["linear", "gaussian", "constant"] = "gaussian",
    batch: int = 1,
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    tta: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Segment volumes: NIfTI files and DICOM series of any size, spacing and orientation.

    The label map has the input's own grid: NIfTI of NIfTI, a DICOM segmentation of DICOM, or both. Beside it lie a
    report, ..._report.json, with the volume, centroid and slices of each class, and a sheet of three planes with the
    outlines, ..._report.png; a folder also gets a table of all, foveal-report.csv. An interrupted run goes on where it
    was when the same command is given again.

    Args:
        output: The file for a single input, else a folder; it also gets a manifest of the run.
        input: NIfTI files, DICOM series, or folders whose files and series are taken; those in folders below are not.
            Channels in files of their own are numbered, such as case_0000.nii.gz and case_0001.nii.gz.
        weights: Name of shipped weights, or a checkpoint, safetensors file or exported program; several, such as those
            of five folds, are run as one, which gives the mean of their probabilities.
        suffix: What label maps end in; .nii.gz, .nii or .dcm, or several of these, that of the input's format if not
            given.
        probabilities: Write the probability of each class too; NIfTI named ..._probabilities.
        uncertainty: Write too how far mirrored views of the input disagree: the variance of the probabilities, 0 to
            0.25, as NIfTI named ..._uncertainty. Eight times slower.
        largest_component: Classes, by name or value, of which the largest connected part alone is kept; "all" for all.
        smallest_ml: Millilitres that a connected part needs to be kept, such as 0.5; of one class such as liver=5.
        report: Write the report and the sheet.
        explain: Folder for pictures of what D-Former's deepest stage took into account; named ..._explain.png.
        series: DICOM, which series of a folder to take; its number in the list that is shown, or UID.
        resample: DICOM, bring tilted or unevenly spaced slices onto an even grid.
        tile: Side of a tile in voxels of the network; "whole" computes the volume in one pass.
        overlap: Voxels that neighbouring tiles share; the weights say how many if not given.
        blend: How neighbouring tiles share a voxel.
        batch: Tiles computed at once.
        device: Where to compute: auto, cpu, cuda, cuda:1 and so on.
        precision: What the network computes in; lower ones are faster on GPUs.
        tta: Average over the eight mirrored views; eight times slower, slightly better.
        overwrite: Replace outputs that exist already.
        quiet: Report nothing but errors.

    Raises:
        UserError: an option, the weights or an input does not fit.

    Example:
        foveal volseg infer --weights last.ckpt --input patients --output organs --largest_component liver spleen
    """
    from ...core.inference.command import make_engine
    from ...core.outlines import labels_of
    from .components import filters_of
    from .ensemble import open_ensemble
    from .explanation import Explainer
    from .volumes import Wanted, run_volumes

    program, facts = open_ensemble(weights, device, precision)
    filters = filters_of(labels_of(program.card), largest_component or [], smallest_ml or [])
    engine, facts = make_engine(program, facts, tile, overlap, device, precision, tta, blend, batch)
    wanted = Wanted(tuple(suffix or ()), probabilities, uncertainty, report, filters, explain)
    explainer = Explainer(program, engine, explain) if explain else None
    options = {"series": series, "resample": resample}
    run_volumes(engine, facts, input, output, wanted, options, overwrite, quiet, explainer)
