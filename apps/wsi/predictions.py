"""Running a network on many slides: what it says of each, where it looks, and a table of all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ...core.inference.batch import Item, manifest_of, pair_paths, run_batch
from ...core.inference.classes import Row, class_row, write_rows
from ...core.inference.engine import Progress
from ...core.inference.journal import Journal
from ...core.weights.card import Card
from ...data.io import features
from ...data.io.formats import is_dicom_folder
from .heatmap import draw_heatmap, write_regions
from .scoring import Score, Scorer
from .slide_bags import MadeFeatures, StoredFeatures, is_bag, read_bag
from .slides import SUFFIXES, appearing_together, slide_name
from .tile_files import facts_of, write_attention

PREDICTION = ".json"
ATTENTION = {"attention": "_attention.h5"}
PICTURES = {"heatmap": "_heatmap.tif", "picture": "_heatmap.png", "regions": "_regions.geojson"}
TABLE = "predictions.csv"


class Predictor:
    """Writes what a network says of a slide, or of a file of features.

    Args:
        scorer: runs the network.
        bags: gives the features of slides; None where there are but files of features.
        expected: what is known of features, from `expected_facts`.
        top: how many of the most attended tiles become regions.
    """

    def __init__(
        self, scorer: Scorer, bags: MadeFeatures | StoredFeatures | None, expected: Mapping[str, Any], top: int
    ) -> None:
        self.scorer = scorer
        self.bags = bags
        self.expected = expected
        self.top = top

    def __call__(self, item: Item, mark: str, progress: Progress) -> str:
        """Do the work for an input; return what is predicted."""
        return _told(self._on_bag(item) if is_bag(item.input) else self._on_slide(item, progress))

    def _on_bag(self, item: Item) -> Row:
        bag = read_bag(item.input, self.expected)
        score = self.scorer.score(bag.values, item.input)
        row = class_row(item.input, score.probabilities, self.scorer.card)
        with appearing_together(item) as parts:
            self._write(parts, row | {"tiles": len(bag.values)}, score, bag.coords, bag.facts)
        return row

    def _on_slide(self, item: Item, progress: Progress) -> Row:
        with self.bags.open(item.input) as source:
            tiles, values = self.bags.bag(source, progress)
            score = self.scorer.score(values, item.input)
            row = class_row(item.input, score.probabilities, self.scorer.card)
            with appearing_together(item) as parts:
                self._write(parts, row | {"tiles": len(values)}, score, tiles.coords, facts_of(tiles))
                if self.scorer.attends:
                    write_regions(parts.beside["regions"], tiles, score.attention, self.top)
                    places = parts.beside["heatmap"], parts.beside["picture"]
                    draw_heatmap(*places, source, tiles, score.attention, self.scorer.card, _told(row))
        return row

    def _write(self, parts: Item, row: Row, score: Score, coords: Any, facts: Mapping[str, Any]) -> None:
        """Write what is told of slides and of files of features alike."""
        content = row | {"features": dict(self.expected)}
        parts.output.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if self.scorer.attends:
            write_attention(parts.beside["attention"], coords, score.attention, score.branches, **facts)


def pair_inputs(inputs: Sequence[Path], output: Path, attends: bool) -> list[Item]:
    """Say what is made of which slide or file of features.

    Args:
        inputs: slides, files of features, and folders of either.
        output: a folder; for a single input also a .json file.
        attends: whether the network tells its attention.

    Raises:
        UserError: as from `pair_paths`; or the output is a folder of inputs, among which heatmaps would be taken for
            slides.
    """

    def beside(path: Path, output: Path) -> dict[str, Path]:
        wanted = (ATTENTION if is_bag(path) else ATTENTION | PICTURES) if attends else {}
        return {what: output.with_name(output.stem + ending) for what, ending in wanted.items()}

    for each in inputs:
        if each.is_dir() and each.resolve() == output.resolve():
            raise UserError(f"--output {output}: is the folder of the inputs; give another.")
    suffixes = {*SUFFIXES, *features.SUFFIXES}
    return pair_paths(inputs, output, suffixes, {PREDICTION}, is_dicom_folder, _output_name, beside)


def run_predictions(
    items: Sequence[Item],
    predictor: Predictor,
    facts: Mapping[str, object],
    output: Path,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Write what a network says of every input; in a folder a table of all that lie there and of those that failed.

    Args:
        items: from `pair_inputs`.
        predictor: does the work.
        facts: what outputs depend on beside the inputs.
        output: the folder, or the file of a single input.
        overwrite: replace outputs that exist already.
        quiet: report nothing but errors.

    Raises:
        FailedInputs: inputs could not be used.
        UserError: the table exists already and no run wrote it so.
    """
    manifest = manifest_of(output, {PREDICTION})
    table = output / TABLE
    if manifest and not overwrite:
        Journal(output).refuse_others([table])
    try:
        run_batch(items, predictor, facts, overwrite, quiet, manifest)
    finally:
        if manifest:
            _write_table(table, manifest, predictor.scorer.card)


def _write_table(table: Path, manifest: Path, card: Card) -> None:
    """Write the table of all that runs wrote into its folder, and of what failed in the one that the manifest tells."""
    journal = Journal(table.parent)
    written = [each for each in table.parent.glob(f"*{PREDICTION}") if journal.wrote(each)]
    rows = {each: json.loads(each.read_text(encoding="utf-8")) for each in written}
    records = json.loads(manifest.read_text(encoding="utf-8"))["items"] if manifest.exists() else []
    failed = [each for each in records if each["status"] == "failed"]
    rows |= {Path(each["output"]): {"input": each["input"], "error": each["reason"]} for each in failed}
    if rows:  # of a run that was refused there are none
        write_rows(table, [rows[each] for each in sorted(rows)], card)
        journal.record(table, "")


def _output_name(path: Path) -> str:
    return (path.stem if is_bag(path) else slide_name(path)) + PREDICTION


def _told(row: Row) -> str:
    """Return the prediction in a few words."""
    chances = row["probabilities"]
    name = max(chances, key=chances.get)
    return f"{name} {chances[name]:.0%}"
