"""Running weights on files of any format: what the `infer` commands of the apps share, and `foveal infer` itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UserError
from ..core.inference.batch import MANIFEST, Item, is_named_as_file, pair_paths, run_batch
from ..core.inference.command import open_engine
from ..core.inference.engine import Engine, Progress
from .io.formats import (
    KINDS,
    READING,
    WRITING,
    Kind,
    default_suffix,
    input_suffixes,
    is_dicom_folder,
    kind_of,
    open_sink,
    open_source,
    output_suffixes,
    suffix_of,
)

logger = logging.getLogger(__name__)

OPTION = {"slide_mpp": "mpp"}  # where the command's word is another than the source's


def infer(
    output: Path,
    input: list[Path],
    weights: str,
    suffix: str | None = None,
    series: str | None = None,
    resample: bool = False,
    bands: list[str] | None = None,
    dates: bool = False,
    warp: bool = False,
    cog: bool = False,
    mpp: float | None = None,
    page: int | None = None,
    tile: int | Literal["auto", "whole"] = "auto",
    overlap: int | None = None,
    blend: Literal["linear", "gaussian", "constant"] = "linear",
    batch: int = 1,
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    tta: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Run any weights or exported program on images, DICOM, NIfTI, GeoTIFF or whole slides of any size.

    The format is told by a file's content; what comes out lies where the input does. An interrupted run goes on where
    it was when the same command is given again.

    Args:
        output: The file to write for a single input; else a folder, which also gets a manifest of the run.
        input: Files, DICOM series, or folders whose files and series are taken (not those in folders below).
        weights: Name of shipped weights, or a checkpoint, safetensors file or exported program.
        suffix: What outputs in a folder end in, such as .nii.gz; that of the input's format if not given.
        series: DICOM, the series to take where a folder holds several: its number in the list that is shown, or UID.
        resample: DICOM, bring tilted or unevenly spaced slices onto an even grid.
        bands: GeoTIFF, names or numbers of the bands to take, in order.
        dates: GeoTIFF, take the files of a folder as the dates of one place.
        warp: GeoTIFF, bring dates of another grid onto that of the first.
        cog: GeoTIFF, write a cloud-optimised file with overviews.
        mpp: Slides, micrometres per pixel of the finest level where the file does not tell.
        page: TIFF images, the page to read, counted from 1.
        tile: Side of a tile in input samples; "whole" computes the input in one pass.
        overlap: Input samples that neighbouring tiles share; the weights say how many if not given.
        blend: How neighbouring tiles share a sample.
        batch: Tiles computed at once.
        device: Where to compute, such as auto, cpu, cuda or cuda:1.
        precision: What the network computes in; lower ones are faster on GPUs.
        tta: Average over flips and transposes; eight times slower.
        overwrite: Replace outputs that exist already.
        quiet: Report nothing but errors.

    Raises:
        UserError: an option, the weights or an input does not fit.

    Example:
        foveal infer --weights network.pt --input scene.tif --output result.tif
    """
    engine, facts = open_engine(None, weights, None, tile, overlap, device, precision, tta, blend, batch)
    options = {
        "series": series,
        "resample": resample,
        "bands": bands,
        "warp": warp,
        "cog": cog,
        "slide_mpp": mpp,
        "page": page,
    }
    run_files(engine, facts, input, output, options, KINDS, suffix, dates, overwrite, quiet)


def run_files(
    engine: Engine,
    facts: Mapping[str, object],
    inputs: Sequence[Path],
    output: Path,
    options: Mapping[str, Any],
    kinds: tuple[Kind, ...] = KINDS,
    suffix: str | None = None,
    dates: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Send files through an engine.

    Args:
        engine: what to run.
        facts: what the outputs depend on beside the inputs and the options below.
        inputs: files and folders.
        output: a file or a folder.
        options: of the sources and sinks by name, each used by the formats that have it; None and False say nothing.
        kinds: the formats that are taken.
        suffix: of outputs in a folder.
        dates: take a folder as the dates of one place.
        overwrite: replace outputs that exist already.
        quiet: report nothing but errors.

    Raises:
        UserError: an input or an option does not fit.
    """
    options = {name: value for name, value in options.items() if value not in (None, False)}
    writable = output_suffixes(kinds)
    items = pair_paths(
        inputs,
        output,
        input_suffixes(kinds),
        writable,
        lambda folder: dates or is_dicom_folder(folder),
        lambda path: _output_name(path, kinds, suffix),
    )
    manifest = None if is_named_as_file(output, writable) else output / MANIFEST

    def work(item: Item, fingerprint: str, progress: Progress) -> None:
        kind = kind_of(item.input, kinds)
        for name in options.keys() - {*READING[kind], *WRITING[kind]}:
            logger.warning("--%s has no effect: %s is read as %s.", OPTION.get(name, name), item.input, kind)
        with (
            open_source(item.input, kind, engine.card, **options) as source,
            open_sink(item.output, kind, source, engine.card, fingerprint, **options) as sink,
        ):
            engine.run(source, sink, progress)

    run_batch(items, work, {**facts, **options}, overwrite, quiet, manifest)


def _output_name(path: Path, kinds: tuple[Kind, ...], suffix: str | None) -> str:
    """Return the name of an input's output in a folder."""
    try:
        kind = kind_of(path, kinds)
    except UserError:
        return path.name  # what is wrong with it is told when its turn comes, and does not stop the others
    own = "" if path.is_dir() else path.name[len(path.name) - len(suffix_of(path)) :]
    writable = output_suffixes((kind,))
    if suffix is None:
        suffix = own if own.lower() in writable else default_suffix(kind)
    elif suffix.lower() not in writable:
        known = ", ".join(sorted(writable))
        raise UserError(f"--suffix {suffix}: what is made of {path} ({kind}) can be written as {known}.")
    return path.name.removesuffix(own) + suffix
