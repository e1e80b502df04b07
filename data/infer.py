"""Running weights on files of any format: what the `infer` commands of the apps share, and `foveal infer` itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..core.atomic import written_beside
from ..core.errors import UserError
from ..core.explanation import Explainer
from ..core.inference.batch import Item, manifest_of, pair_paths, run_batch
from ..core.inference.command import open_engine
from ..core.inference.engine import Engine, Progress
from ..core.inference.fan import Fan, Part
from ..core.inference.grey import as_rgb
from ..core.inference.intensity import with_intensity
from ..core.inference.streams import Sink, Source
from ..core.inference.tta import HIGHEST_VARIANCE, probability_of
from ..core.inference.windows import whole
from ..core.weights.card import Activation, Card
from .io.formats import (
    KINDS,
    READING,
    WRITING,
    Kind,
    default_suffix,
    input_suffixes,
    is_dicom_input,
    is_volume,
    kind_of,
    open_overlay,
    open_sink,
    open_source,
    output_suffixes,
    split_name,
    suffix_of,
)
from .volume_run import giving_probabilities, run_volume

logger = logging.getLogger(__name__)

LABELLED: dict[Activation, Activation] = {"sigmoid": "threshold", "softmax": "argmax"}
Intensity = Callable[[Source, Kind], dict[str, Any]]


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
    quantification: float | None = None,
    offset: float | None = None,
    cog: bool = False,
    probabilities: bool = False,
    uncertainty: bool = False,
    slide_mpp: float | None = None,
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
        output: The file for a single input, else a folder; it also gets a manifest of the run.
        input: Files, DICOM series, or folders whose files and series are taken; those in folders below are not. A
            folder of DICOM files of which each is an image of its own, such as X-rays, is taken file by file.
        weights: Name of shipped weights, or a checkpoint, safetensors file or exported program.
        suffix: What outputs in a folder end in, such as .nii.gz; that of the input's format if not given.
        series: DICOM, which series of a folder to take; its number in the list that is shown, or UID.
        resample: DICOM, bring tilted or unevenly spaced slices onto an even grid.
        bands: GeoTIFF, names or numbers of the bands to take, in order.
        dates: GeoTIFF, take the files of a folder as the dates of one place.
        warp: GeoTIFF, bring dates of another grid onto that of the first.
        quantification: GeoTIFF, stored numbers for a reflectance of one, where the file does not tell.
        offset: GeoTIFF, what is added to stored numbers before that: -1000 or 0 for Sentinel-2 since 2022.
        cog: GeoTIFF, write a cloud-optimised file with overviews.
        probabilities: Write the probability of each class in place of labels.
        uncertainty: Write a second output, named ..._uncertainty: how far mirrored views of the input disagree, as the
            variance of the probabilities, 0 to 0.25; in images 0.25 is white. Eight times slower.
        slide_mpp: Slides, micrometres per pixel of the finest level where the file does not tell.
        page: TIFF images, the page to read, counted from 1.
        tile: Side of a tile in input samples; "whole" computes the input in one pass.
        overlap: Input samples that neighbouring tiles share; the weights say how many if not given.
        blend: How neighbouring tiles share a sample.
        batch: Tiles computed at once.
        device: Where to compute: auto, cpu, cuda, cuda:1 and so on.
        precision: What the network computes in; lower ones are faster on GPUs.
        tta: Average over flips and transposes, of volumes over flips alone; eight times slower.
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
        "quantification": quantification,
        "offset": offset,
        "cog": cog,
        "slide_mpp": slide_mpp,
        "page": page,
    }
    wanted = Wanted(suffix, probabilities, uncertainty)
    run_files(engine, facts, input, output, options, KINDS, wanted, dates, overwrite, quiet)


@dataclass(frozen=True)
class Wanted:
    """What is written for each input.

    Attributes:
        suffix: of outputs in a folder; None for that of the input's format.
        probabilities: write probabilities in place of labels.
        uncertainty: write the variance of the probabilities over mirrored views beside the output.
        overlay: the folder for pictures with the outlines of the classes; None for none.
        explain: the folder for pictures of where the network looks at single images; None for none.
    """

    suffix: str | None = None
    probabilities: bool = False
    uncertainty: bool = False
    overlay: Path | None = None
    explain: Path | None = None


def run_files(
    engine: Engine,
    facts: Mapping[str, object],
    inputs: Sequence[Path],
    output: Path,
    options: Mapping[str, Any],
    kinds: tuple[Kind, ...] = KINDS,
    wanted: Wanted | None = None,
    dates: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    intensity: Intensity | None = None,
) -> None:
    """Send files through an engine.

    Args:
        engine: what to run.
        facts: what the outputs depend on beside the inputs and what is said below.
        inputs: files and folders.
        output: a file or a folder.
        options: of the sources and sinks by name, each used by the formats that have it; None and False say nothing.
        kinds: the formats that are taken.
        wanted: what is written; None for the output alone.
        dates: take a folder as the dates of one place.
        overwrite: replace outputs that exist already.
        quiet: report nothing but errors.
        intensity: gives the card's `intensity` for a source where the card has none.

    Raises:
        UserError: an input or an option does not fit.
    """
    options = {name: value for name, value in options.items() if value is not None and value is not False}
    files = _Files(engine, options, kinds, wanted or Wanted(), dates, intensity)
    writable = output_suffixes(kinds)
    items = pair_paths(inputs, output, input_suffixes(kinds), writable, files.is_input, files.name, files.beside)
    asked = {name: True for name in ("probabilities", "uncertainty") if getattr(files.wanted, name)}
    run_batch(items, files.work, {**facts, **options, **asked}, overwrite, quiet, manifest_of(output, writable))


class _Files:
    """Says what is made of each file, and makes it.

    Args:
        engine: as for `run_files`; so are the others.
        options: those that say something.
        kinds: see `run_files`.
        wanted: see `run_files`.
        dates: see `run_files`.
        intensity: see `run_files`.

    Raises:
        UserError: the program does not give what is wanted.
    """

    def __init__(
        self,
        engine: Engine,
        options: Mapping[str, Any],
        kinds: tuple[Kind, ...],
        wanted: Wanted,
        dates: bool,
        intensity: Intensity | None,
    ) -> None:
        self.options, self.kinds, self.wanted = options, kinds, wanted
        self.dates, self.intensity = dates, intensity
        card = engine.card
        if wanted.probabilities or wanted.uncertainty:
            chances = probability_of(card)
        self.engine = engine.with_card(activation=chances) if wanted.probabilities else engine
        self.card = self.engine.card
        if wanted.overlay and card.activation == "none":
            raise UserError(f"--overlay: {card.name} gives values, which have no outlines; leave it out.")
        for name, folder in (("overlay", wanted.overlay), ("explain", wanted.explain)):
            if folder:
                check_folder(name, folder, output_suffixes(kinds))
        self.explainer = Explainer(engine.network, card, engine.device) if wanted.explain else None

    def is_input(self, path: Path) -> bool:
        """Tell whether a folder is one input, or a file is one whatever its name."""
        if path.is_dir() and self.dates:
            return True
        return (path.is_dir() or "dicom" in self.kinds) and is_dicom_input(path, "series" in self.options)

    def name(self, path: Path) -> str:
        """Return the name of an input's output in a folder."""
        try:
            kind = kind_of(path, self.kinds)
        except UserError:
            return path.name  # what is wrong with it is told when its turn comes, and does not stop the others
        stem, own = (path.name, "") if path.is_dir() else split_name(path)
        if own.lower() not in input_suffixes((kind,)):
            stem, own = path.name, ""  # a part of the name, such as the last number of a UID
        if kind == "video":
            return stem.replace(".", "_")  # a folder, which a dot would make a file
        return stem + self._suffix(path, kind, own)

    def beside(self, path: Path, output: Path) -> dict[str, Path]:
        """Return the other outputs of an input, by what they are."""
        try:
            kind = kind_of(path, self.kinds)
        except UserError:
            return {}
        stem, suffix = split_name(output)
        if suffix.lower() not in output_suffixes((kind,)):
            stem, suffix = output.name, ""
        found = {}
        if self.wanted.uncertainty:
            other = suffix
            if suffix.lower() == ".geojson":
                other = ".tif"
            elif kind == "video":
                other = ""
            elif suffix.lower() == ".dcm" and is_volume(path, kind):
                other = ".nii.gz"
            found["uncertainty"] = output.with_name(f"{stem}_uncertainty{other}")
        if self.wanted.overlay:
            found["overlay"] = self.wanted.overlay / f"{stem}_overlay{'.mp4' if kind == 'video' else '.png'}"
        if self.wanted.explain and kind in ("image", "dicom") and not path.is_dir():
            found["explain"] = self.wanted.explain / f"{stem}_explain.png"
        return found

    def work(self, item: Item, fingerprint: str, progress: Progress) -> None:
        """Make the outputs of an input."""
        kind = kind_of(item.input, self.kinds)
        for name in self.options.keys() - {*READING[kind], *WRITING[kind]}:
            logger.warning("--%s has no effect: %s is read as %s.", name, item.input, kind)
        with ExitStack() as stack:
            source = stack.enter_context(open_source(item.input, kind, self.card, **self.options))
            if self.explainer and ("explain" not in item.beside or source.spatial != 2):
                raise UserError(f"--explain: {item.input} holds several images; give single ones.")
            engine = self._engine(source, kind)
            seen = as_rgb(source, engine.card) if kind in ("dicom", "nifti") else source
            sink = open_sink(item.output, kind, source, engine.card, fingerprint, **self.options)
            stack.enter_context(sink)
            if not item.beside:
                _run(engine, seen, sink, progress)
                return
            with_variance = "uncertainty" in item.beside
            alone = giving_probabilities(engine) if engine.card.dimensions == 3 else engine  # as without others beside
            raw = alone.with_variance() if with_variance else alone.with_card(activation="none")
            own = slice(0, -1) if with_variance else slice(None)
            parts = [Part(sink, own, alone.card.activation)]
            if with_variance:
                card = variance_card(engine.card)
                sink = open_sink(item.beside["uncertainty"], kind, source, card, fingerprint, **self.options)
                parts.append(Part(stack.enter_context(sink), slice(-1, None), card.activation))
            if "overlay" in item.beside:
                card = replace(engine.card, activation=LABELLED.get(engine.card.activation, engine.card.activation))
                sink = open_overlay(item.beside["overlay"], kind, source, card, fingerprint)
                parts.append(Part(stack.enter_context(sink), own, card.activation))
            if self.explainer:
                picture = stack.enter_context(written_beside(item.beside["explain"]))  # appears with the others
                self._explain(with_intensity(seen, engine.card), picture, item.input.name)
            _run(raw, seen, Fan(parts), progress)

    def _explain(self, source: Source, path: Path, title: str) -> None:
        """Draw where the network looks at an image."""
        image = source.read(whole(source.shape[1:]))
        self.explainer.draw(image, path, title)

    def _suffix(self, path: Path, kind: Kind, own: str) -> str:
        """Return what an output's name ends in, given what the input's does."""
        writable = output_suffixes((kind,))
        suffix = self.wanted.suffix
        if suffix is not None:
            check_suffix(suffix, path, kind)
            return suffix
        suffix = own if own.lower() in writable else default_suffix(kind)
        if kind != "image":
            return suffix
        from .io.image.samples import image_suffix

        return image_suffix(suffix, self.card)

    def _engine(self, source: Source, kind: Kind) -> Engine:
        """Return the engine as a source needs it."""
        changes: dict[str, object] = {"axis": 2} if kind == "video" else {}
        if self.intensity and not self.card.intensity:
            changes["intensity"] = self.intensity(source, kind)
        return self.engine.with_card(**changes) if changes else self.engine


def check_folder(option: str, folder: Path, writable: Collection[str]) -> None:
    """Refuse a name that cannot be a folder for pictures.

    Args:
        option: what gave it.
        folder: the name.
        writable: suffixes of outputs, which folders have not.

    Raises:
        UserError: it is a file, or named as an output.
    """
    if suffix_of(folder) in writable or folder.is_file():
        raise UserError(f"--{option} {folder}: pictures go to a folder; give its name.")


def check_suffix(suffix: str, path: Path, kind: Kind) -> None:
    """Refuse a suffix that nothing made of an input can have.

    Raises:
        UserError: it is none of those of the input's format.
    """
    writable = output_suffixes((kind,))
    if suffix.lower() not in writable:
        known = ", ".join(sorted(writable))
        raise UserError(f"--suffix {suffix}: what is made of {path} ({kind}) can be written as {known}.")


def _run(engine: Engine, source: Source, sink: Sink, progress: Progress) -> None:
    """Run an engine; one of volumes in the grid and orientation that its card says."""
    if engine.card.dimensions == 3:
        run_volume(engine, source, sink, progress)
    else:
        engine.run(source, sink, progress)


def variance_card(card: Card) -> Card:
    """Return the card of the variance of what a card gives, for the sinks."""
    ends = (0.0, HIGHEST_VARIANCE)
    return replace(card, activation="none", outputs=("uncertainty",), labels=(), value_range=ends)
