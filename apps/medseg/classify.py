"""Classifying images and DICOM files: one line of a table for each, and pictures of where the network looks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import UserError, is_disk_full
from ...core.inference.batch import find_inputs, raise_failures, reason_of
from ...core.inference.classes import TABLES, Row, chances, class_row, write_rows
from ...core.inference.command import warn_of_exported
from ...core.inference.device import Precision, autocast, find_device
from ...core.inference.journal import Journal, fingerprint
from ...core.inference.prepared import prepared
from ...core.inference.progress import Reporter
from ...core.weights.card import Card
from ...data.io.formats import input_suffixes, is_dicom_file
from ...data.unit_image import fit, read_unit_image
from .models.medusa import MAP_TITLES, AttentionMaps

KINDS = ("image", "dicom")
CAPTION = "Attention: MEDUSA's body, 0 to 1. Scales: the mean over channels of the gate that it makes for each."
LARGEST_PICTURE = 640


def classify(
    program: Any,
    facts: Mapping[str, object],
    inputs: Sequence[Path],
    output: Path,
    explain: Path | None = None,
    batch: int = 1,
    device: str = "auto",
    precision: Precision = "float32",
    tta: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Write the classes of images as a table.

    The table appears whole; an interrupted run goes on where it was. A bad input has its error in its line.

    Args:
        program: with a card of kind "classes".
        facts: what its outputs depend on.
        inputs: files, and folders whose files are taken.
        output: a .csv or .json file.
        explain: the folder for pictures of the attention; None for none.
        batch: images computed at once, where the card has a frame; exported programs take one.
        device: where to compute.
        precision: what a network computes in.
        tta: average over the image and its mirror image.
        overwrite: replace the table if it is there.
        quiet: report nothing but errors.

    Raises:
        UserError: an option does not fit, or an input could not be used.
    """
    if output.suffix.lower() not in TABLES or output.is_dir():
        raise UserError(f"--output {output}: classes go into a table; end the name in .csv or .json.")
    if batch < 1:
        raise UserError(f"--batch {batch}: give at least 1.")
    warn_of_exported(program, precision, batch)
    batch = batch if isinstance(program, nn.Module) else 1
    suffixes = input_suffixes(KINDS)
    files = [each for path in inputs for each in find_inputs(path, suffixes, is_dicom_file)]
    places = _places(files, explain)
    classifier = Classifier(program, device, precision, tta, explain is not None)
    facts = {**facts, "precision": precision, "tta": tta}
    marks = [fingerprint(file, facts) for file in files]
    work = hashlib.sha256("".join(marks).encode()).hexdigest()
    journal = Journal(output.parent)
    with Reporter(len(files), quiet) as reporter:
        if not overwrite and all(journal.is_done(each, work) for each in (output, *places.values())):
            reporter.line(f"{output} is done already")
            return
        if not overwrite:
            journal.refuse_others([output, *places.values()])
        output.parent.mkdir(parents=True, exist_ok=True)
        rows = _Rows(output, dict(zip(files, marks, strict=True)))
        undrawn = {file for file, place in places.items() if not journal.is_done(place, work)}
        waiting = [each for each in files if not rows.has(each) or each in undrawn]
        for number in range(0, len(waiting), batch):
            for row, looked in classifier.answers(waiting[number : number + batch]):
                file = Path(row["input"])
                reporter.start(file.name)
                if looked:
                    looked(places[file])
                    journal.record(places[file], work, output)
                rows.add(file, row)
                reporter.line(row.get("error") or f"{row['predicted'] or 'none of the classes'}")
        write_rows(output, [rows.of(file) for file in files], program.card)
        for each in journal.finish(output, places.values(), work):
            reporter.line(f"{each} was of another result and is removed")
        failures = [row["error"] for row in map(rows.of, files) if "error" in row]
        if failures:
            journal.record(output, f"{work}, but for some inputs")  # these are tried again
        else:
            rows.delete()
    raise_failures(failures, len(files))


class Classifier:
    """Runs a classifier on files.

    Args:
        program: (N, C, *frame) -> logits (N, classes), or a tuple of these, attention and gates as `AttentionMaps`.
        device: where it is.
        precision: what it computes in; exported programs keep their own.
        tta: average the probabilities over the image and its mirror image.
        attends: give pictures of the attention.

    Raises:
        UserError: the network has no attention.
    """

    def __init__(self, program: Any, device: str, precision: Precision, tta: bool, attends: bool) -> None:
        self.card: Card = program.card
        self.device = find_device(device)
        is_module = isinstance(program, nn.Module)
        self.context = partial(autocast, self.device, precision) if is_module else nullcontext
        if attends and is_module and not hasattr(program, "attend"):
            raise UserError(f"--explain: {self.card.name} has no attention to show; leave it out.")
        net = AttentionMaps(program) if attends and is_module else program
        self.program = prepared(net, replace(self.card, frame=()))  # files come in the frame, and classes have none
        self.tta = tta
        self.attends = attends

    def answers(self, files: Sequence[Path]) -> list[tuple[Row, Callable[[Path], None] | None]]:
        """Return a row for each file, and what draws its attention where that is wanted."""
        images: dict[Path, np.ndarray] = {}
        shown: dict[Path, np.ndarray] = {}
        found: dict[Path, tuple[Row, Callable[[Path], None] | None]] = {}
        for file in files:
            try:
                images[file], shown[file] = self._images(file)
            except Exception as error:
                if is_disk_full(error):
                    raise
                found[file] = _failed(file, error), None
        for group in _alike(images):
            try:
                logits, maps = self._computed(np.stack([images[file] for file in group]))
            except UserError:
                raise  # the program or an option does not fit any file
            except Exception as error:
                found |= {file: (_failed(file, error), None) for file in group}
                continue
            for place, file in enumerate(group):
                row = self._row(file, logits[:, place])
                draws = self.attends and "error" not in row
                found[file] = row, partial(self._draw, shown[file], maps[place], row) if draws else None
        return [found[file] for file in files]

    def _images(self, file: Path) -> tuple[np.ndarray, np.ndarray]:
        """Return an image as in training, (C, *frame), and as pictures show it, at most 640 pixels; float32 in 0..1."""
        image = read_unit_image(file)
        size = image.shape[1:]
        shrink = min(1.0, LARGEST_PICTURE / max(size))
        small = tuple(max(1, round(side * shrink)) for side in size)
        seen = fit(image, self.card.frame or size, len(self.card.channels))
        shown = fit(image, small, len(image)) if self.attends else seen
        return seen.astype(np.float32) / 255, shown.astype(np.float32) / 255

    def _computed(self, images: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Return logits of each view, (views, N, classes), and maps of the attention, (N, maps, H, W)."""
        low, high = self.card.value_range
        x = torch.from_numpy(images).to(self.device) * (high - low) + low
        logits, maps = self._run(x)
        views = [logits, self._run(x.flip(-1))[0]] if self.tta else [logits]
        return torch.stack(views).cpu(), maps.float().cpu().numpy()

    def _row(self, file: Path, logits: Tensor) -> Row:
        """Return what is told of a file, given the logits of its views, (views, classes)."""
        try:
            found = chances(logits, self.card).mean(dim=0)
        except UserError as error:
            return _failed(file, error)
        return class_row(file, found.numpy(), self.card)

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(), self.context():
            outputs = self.program(x)
        logits, *maps = outputs if isinstance(outputs, tuple) else (outputs,)
        if logits.shape[1:] != (len(self.card.outputs),):
            raise UserError(
                f"the network made {tuple(logits.shape[1:])} of an image; its card promises {len(self.card.outputs)} "
                "classes."
            )
        if self.attends and not maps:
            raise UserError(f"--explain: {self.card.name} was exported without its attention; give its checkpoint.")
        return logits, torch.cat(maps, dim=1) if maps else x[:, :0]

    @staticmethod
    def _draw(image: np.ndarray, maps: np.ndarray, row: Row, path: Path) -> None:
        from ...core.attention_overlay import draw_attention
        from ...core.explanation import WARNING

        told = ", ".join(f"{name} {each:.0%}" for name, each in row["probabilities"].items())
        named = [(title, each, None) for title, each in zip(MAP_TITLES, maps, strict=False)]
        draw_attention(image, named, path, f"{Path(row['input']).name}: {told}", caption=f"{CAPTION} {WARNING}")


class _Rows:
    """Rows that are finished, safe in a hidden file beside the table until that is written.

    Args:
        output: the table.
        marks: fingerprint of the work on each file; rows of other work are dropped.
    """

    def __init__(self, output: Path, marks: Mapping[Path, str]) -> None:
        self.path = output.with_name(f".{output.name}.rows")
        self.marks = marks
        self.rows: dict[str, Row] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # a line that a killed run did not finish
            self.rows[entry["mark"]] = entry["row"]

    def has(self, file: Path) -> bool:
        """Tell whether a file is done; a failed one is tried again."""
        return "error" not in self.rows.get(self.marks[file], {"error": ""})

    def of(self, file: Path) -> Row:
        """Return the row of a file."""
        return self.rows[self.marks[file]]

    def add(self, file: Path, row: Row) -> None:
        """Keep a row."""
        self.rows[self.marks[file]] = row
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write("\n" + json.dumps({"mark": self.marks[file], "row": row}, ensure_ascii=False))

    def delete(self) -> None:
        """Remove the file, the rows being in the table."""
        self.path.unlink(missing_ok=True)


def _failed(file: Path, error: Exception) -> Row:
    """Return what is told of a file that could not be used."""
    return {"input": str(file), "error": reason_of(file, error)}


def _places(files: Sequence[Path], explain: Path | None) -> dict[Path, Path]:
    """Return where the picture of each file goes."""
    if len(set(files)) < len(files):
        raise UserError("--input: names a file twice; give it once.")
    if explain is None:
        return {}
    if explain.suffix.lower() in (*input_suffixes(KINDS), *TABLES) or explain.is_file():
        raise UserError(f"--explain {explain}: pictures go to a folder; give its name.")
    places = {file: explain / f"{file.stem}_explain.png" for file in files}
    for file, place in places.items():
        same = [str(each) for each, other in places.items() if other == place]
        if len(same) > 1:
            raise UserError(f"{', '.join(same)}: would have the same picture {place}; run them one by one.")
        if place.resolve() in {each.resolve() for each in files}:
            raise UserError(f"--explain {explain}: would replace {file}; give another folder.")
    return places


def _alike(images: Mapping[Path, np.ndarray]) -> list[list[Path]]:
    """Return the files of images in groups of one size."""
    groups: dict[tuple[int, ...], list[Path]] = {}
    for file, image in images.items():
        groups.setdefault(image.shape, []).append(file)
    return list(groups.values())
