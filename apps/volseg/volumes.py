"""Sending volumes through an engine: which files are made of each case, and how."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from platform import python_version
from typing import Any

import torch

from ...core.atomic import written_beside
from ...core.errors import UserError
from ...core.inference.batch import Item, manifest_of, pair_paths, run_batch
from ...core.inference.engine import Engine, Progress
from ...core.inference.fan import Fan, Part
from ...core.inference.journal import Journal
from ...core.inference.streams import Source
from ...core.outlines import labels_of
from ...core.weights.card import Card
from ...data.infer import check_suffix, variance_card
from ...data.io.formats import (
    READING,
    default_suffix,
    input_suffixes,
    is_dicom_input,
    kind_of,
    open_sink,
    output_suffixes,
    split_name,
    suffix_of,
)
from ...data.io.sink import SpooledSink
from ...data.io.spool import Spool
from ...data.volume_channels import KINDS, ChannelFiles
from ...data.volume_run import run_volume
from .components import Filter, clean
from .explanation import Explainer
from .inputs import Files, case_name, find_cases, open_case
from .label_map import LabelMap
from .profiles import profiles
from .report import REPORT, TABLE, Report, voxel_ml, write_table

logger = logging.getLogger(__name__)

VALUES = ".nii.gz"
"""What probabilities and uncertainties end in."""
LABELS = "labels"
"""What label maps beside the first are called, with their suffix."""


@dataclass(frozen=True)
class Wanted:
    """What is written for each case.

    Attributes:
        suffixes: of the label maps; () for that of the input's format.
        probabilities: write the probability of each class.
        uncertainty: write the variance of the probabilities over mirrored views.
        report: write what was found.
        filters: which components of a class are kept, by its value.
        explain: the folder for pictures of what the network took into account; None for none.
    """

    suffixes: tuple[str, ...] = ()
    probabilities: bool = False
    uncertainty: bool = False
    report: bool = True
    filters: Mapping[int, Filter] = field(default_factory=dict)
    explain: Path | None = None


def run_volumes(
    engine: Engine,
    facts: Mapping[str, object],
    inputs: Sequence[Path],
    output: Path,
    wanted: Wanted,
    options: Mapping[str, Any],
    overwrite: bool = False,
    quiet: bool = False,
    explainer: Explainer | None = None,
) -> None:
    """Segment volumes.

    Args:
        engine: its program gives probabilities of exclusive classes.
        facts: what the outputs depend on beside the inputs and what is said below.
        inputs: files and folders.
        output: a file or a folder.
        wanted: what is written.
        options: of the sources by name; None and False say nothing.
        overwrite: replace outputs that exist already.
        quiet: report nothing but errors.
        explainer: draws the pictures that `wanted` asks for.

    Raises:
        UserError: an input or an option does not fit.
    """
    options = {name: value for name, value in options.items() if value not in (None, False)}
    cases = find_cases(inputs, len(engine.card.channels), partial(is_dicom_input, is_series_chosen="series" in options))
    writable = output_suffixes(KINDS)
    volumes = _Volumes(engine, facts, wanted, cases, options, explainer)
    pairs = pair_paths(
        list(cases), output, input_suffixes(KINDS), writable, lambda path: True, volumes.name, volumes.beside
    )
    items = [each._replace(uses=cases[each.input][1:]) for each in pairs]
    manifest = manifest_of(output, writable)
    if manifest and not overwrite:
        Journal(output).refuse_others([output / TABLE])
    asked = {name: value for name, value in asdict(wanted).items() if name in ("uncertainty", "filters") and value}
    try:
        run_batch(items, volumes.work, {**facts, **options, **asked}, overwrite, quiet, manifest)
    finally:
        if manifest:
            write_table(output)


class _Volumes:
    """Says what is made of each case, and makes it.

    Args:
        engine: as for `run_volumes`; so are the others.
        facts: see `run_volumes`.
        wanted: see `run_volumes`.
        cases: the files of each case, by the first of them.
        options: those that say something.
        explainer: see `run_volumes`.
    """

    def __init__(
        self,
        engine: Engine,
        facts: Mapping[str, object],
        wanted: Wanted,
        cases: Mapping[Path, Files],
        options: Mapping[str, Any],
        explainer: Explainer | None,
    ) -> None:
        self.engine, self.card = engine, engine.card
        self.wanted, self.cases, self.options = wanted, cases, options
        self.explainer = explainer
        self.classes = labels_of(engine.card)
        filters = {
            each.name: asdict(wanted.filters[each.value]) for each in self.classes if each.value in wanted.filters
        }
        versions = {"foveal": facts["version"], "torch": torch.__version__, "python": python_version()}
        self.described = {"weights": facts["weights"], "tta": engine.tta, "filters": filters, "versions": versions}

    def name(self, path: Path) -> str:
        """Return the name of a case's label map in a folder."""
        return case_name(self.cases[path]) + next(iter(self._suffixes(path)), "")

    def beside(self, path: Path, output: Path) -> dict[str, Path]:
        """Return the other outputs of a case, by what they are."""
        stem, own = split_name(output)
        asked = self._suffixes(path) if self.wanted.suffixes else ()  # else the name of the output alone decides
        endings = {f"{LABELS}{each}": each for each in asked if each.lower() != own.lower()}
        endings |= {name: f"_{name}{VALUES}" for name in ("probabilities", "uncertainty") if getattr(self.wanted, name)}
        if self.wanted.report:
            endings |= {"report": REPORT, "sheet": "_report.png"}
        found = {name: output.with_name(stem + ending) for name, ending in endings.items()}
        return found | ({"explain": self.wanted.explain / f"{stem}_explain.png"} if self.wanted.explain else {})

    def work(self, item: Item, fingerprint: str, progress: Progress) -> None:
        """Make the outputs of a case."""
        kind = kind_of(item.input, KINDS)
        for name in self.options.keys() - {*READING[kind]}:
            logger.warning("--%s has no effect: %s is read as %s.", name, item.input, kind)
        wanted, classes = self.wanted, slice(0, -1) if self.wanted.uncertainty else slice(None)
        with ExitStack() as stack:
            source = stack.enter_context(open_case(self.cases[item.input], self.card, **self.options))
            header = source.sources[0] if isinstance(source, ChannelFiles) else source

            def opened(path: Path, card: Card) -> SpooledSink:
                return stack.enter_context(open_sink(path, kind, header, card, fingerprint))

            files = [opened(path, self.card) for path in _label_maps(item)]
            place, finish = item.output.with_name(f"{item.output.name}.{LABELS}"), partial(self._finish, item, source)
            labels = LabelMap(place, source.geometry, 1 + self.classes[-1].value, files, finish, fingerprint)
            parts = [Part(stack.enter_context(labels), classes, "argmax")]
            if wanted.probabilities:
                names = self.card.outputs or ("background", *(each.name for each in self.classes))
                card = replace(self.card, activation="none", outputs=names)
                parts.append(Part(opened(item.beside["probabilities"], card), classes, "none"))
            if wanted.uncertainty:
                sink = opened(item.beside["uncertainty"], variance_card(self.card))
                parts.append(Part(sink, slice(-1, None), "none"))
            engine = self.engine.with_variance() if wanted.uncertainty else self.engine
            run_volume(engine.with_card(activation="none"), source, Fan(parts), progress)

    def _finish(self, item: Item, source: Source, labels: Spool, stack: ExitStack) -> None:
        """Clean the label map of a case, write what was found in it, and draw what the network took into account."""
        name = case_name(self.cases[item.input])
        if self.explainer:
            self.explainer.draw(source, stack.enter_context(written_beside(item.beside["explain"])), name)
        if not (self.wanted.filters or self.wanted.report):
            return
        geometry, number = source.geometry, 1 + self.classes[-1].value
        found = profiles(labels, number)
        if clean(labels, self.wanted.filters, found, voxel_ml(geometry)):
            found = profiles(labels, number)
        if self.wanted.report:
            shown = self.card.intensity.get("window")
            report = Report(name, self.classes, geometry, shown, self.described)
            report.write(stack.enter_context(written_beside(item.beside["report"])), found)
            report.draw(stack.enter_context(written_beside(item.beside["sheet"])), found, source, labels)

    def _suffixes(self, path: Path) -> tuple[str, ...]:
        """Return what the label maps of a case end in."""
        try:
            kind = kind_of(path, KINDS)
        except UserError:
            return ()  # what is wrong with it is told when its turn comes, and does not stop the others
        for each in self.wanted.suffixes:
            check_suffix(each, path, kind)
        own = suffix_of(path)
        return self.wanted.suffixes or (own if own in output_suffixes((kind,)) else default_suffix(kind),)


def _label_maps(item: Item) -> list[Path]:
    """Return the files of a case's label map."""
    return [item.output, *(path for name, path in item.beside.items() if name.startswith(LABELS))]
