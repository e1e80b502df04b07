"""What was found in a case: a table of its classes, and a sheet of three planes with their outlines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...core.cases import write_cases
from ...core.inference.journal import Journal
from ...core.inference.streams import Source
from ...core.planes import sheet
from ...core.weights.label import Label
from ...data.geometry import VolumeGeometry
from .profiles import Labels, Profiles

SIDE = 480  # pixels of the longest side of the body on the sheet
LINE = 20  # pixels of a line of the legend
TABLE = "foveal-report.csv"
REPORT = "_report.json"  # behind the name of a case
AXES = "RAS"  # of the centroids: to the right, the front (anterior) and the head (superior)


@dataclass(frozen=True)
class Report:
    """Describes what was found in a case.

    Attributes:
        case: its name.
        classes: the labels.
        geometry: where the voxels lie.
        shown: the lowest and highest values that the sheet tells apart; None where it tells all.
        facts: what the result depends on: versions, weights, options.
    """

    case: str
    classes: Sequence[Label]
    geometry: VolumeGeometry
    shown: tuple[float, float] | None
    facts: Mapping[str, Any]

    def content(self, found: Profiles) -> dict[str, Any]:
        """Return the report as plain values; slices are those of the file's last axis (DICOM: the images), from 0."""
        return {
            "case": self.case,
            "voxels": list(self.geometry.shape[::-1]),
            "spacing_mm": [round(each, 6) for each in self.geometry.spacing_mm[::-1]],
            "coordinates": "millimetres to the right (R), the front (A) and the head (S)",
            "classes": [self._class(each, found) for each in self.classes],
            **self.facts,
        }

    def write(self, path: Path, found: Profiles) -> None:
        """Write the report as JSON."""
        text = json.dumps(self.content(found), indent=2, ensure_ascii=False, default=str)
        path.write_text(f"{text}\n", encoding="utf-8")

    def draw(self, path: Path, found: Profiles, source: Source, labels: Labels) -> None:
        """Write the sheet as PNG: the slices that hold most of all classes, over the first channel of the source."""
        planes = sheet(
            _Volume(source, self.shown), _Volume(labels), self.classes, found.busiest(),
            self.geometry.orientation, self.geometry.spacing_mm, SIDE,
        )  # fmt: skip
        lines = [(each.colour, f"{each.name}  {self._millilitres(each, found):.4g} ml") for each in self.classes]
        Image.fromarray(np.concatenate([planes, _legend(lines, planes.shape[1])])).save(path, format="png")

    def _class(self, label: Label, found: Profiles) -> dict[str, Any]:
        slices, centre = found.slices(label.value), found.centroid(label.value)
        place = None if centre is None else self.geometry.affine @ np.array([*centre[::-1], 1.0])
        return {
            "value": label.value,
            "name": label.name,
            "voxels": found.voxels(label.value),
            "volume_ml": round(self._millilitres(label, found), 6),
            "centroid_mm": None if place is None else dict(zip(AXES, place[:3].round(3).tolist(), strict=True)),
            "slices": {
                "count": len(slices),
                "first": int(slices[0]) if len(slices) else None,
                "last": int(slices[-1]) if len(slices) else None,
            },
        }

    def _millilitres(self, label: Label, found: Profiles) -> float:
        return found.voxels(label.value) * voxel_ml(self.geometry)


def voxel_ml(geometry: VolumeGeometry) -> float:
    """Return the volume of a voxel, millilitres."""
    return abs(float(np.linalg.det(geometry.affine[:3, :3]))) / 1000


def write_table(folder: Path) -> None:
    """Write one table of all reports that runs wrote into a folder, a line for each case and class.

    Where none is left, the table that a run wrote is removed.
    """
    journal, table = Journal(folder), folder / TABLE
    reports = [each for each in sorted(folder.glob(f"*{REPORT}")) if journal.wrote(each)]
    if lines := [line for each in reports for line in _lines(each)]:
        write_cases(table, lines)
        journal.record(table, "")
    elif journal.wrote(table):
        table.unlink()


def _lines(report: Path) -> list[dict[str, Any]]:
    """Return the lines of a report, by the name of its file: cases of several patients may share theirs."""
    return [
        {
            "case": report.name.removesuffix(REPORT),
            "value": each["value"],
            "name": each["name"],
            "voxels": each["voxels"],
            "volume_ml": each["volume_ml"],
            **{f"centroid_{axis}_mm": (each["centroid_mm"] or {}).get(axis, "") for axis in AXES},
            **{name: each["slices"][key] for name, key in SLICES.items()},
        }
        for each in json.loads(report.read_text(encoding="utf-8"))["classes"]
    ]


SLICES = {"slices": "count", "first_slice": "first", "last_slice": "last"}
"""Columns of the table, by what they are in a report."""


class _Volume:
    """What is read in windows as an array, (D, H, W), of which planes are taken; one slice is held at once.

    Args:
        source: of one channel or more, of which the first is taken.
        ends: the lowest and highest value; what lies beyond is cut off. None for no ends.
    """

    def __init__(self, source: Source | Labels, ends: tuple[float, float] | None = None) -> None:
        self.source = source
        self.ends = ends
        self.shape = source.shape[1:]

    def __getitem__(self, place: tuple[int | slice, ...]) -> np.ndarray:
        """Return the plane at a number along one axis, all of the others."""
        row, *inside = place
        if not isinstance(row, slice):
            return self._slice(row)
        return np.stack([self._slice(number)[*inside] for number in range(self.shape[0])])

    def _slice(self, number: int) -> np.ndarray:
        window = (slice(number, number + 1), *(slice(0, size) for size in self.shape[1:]))
        values = self.source.read(window)[0, 0]
        return values.clip(*self.ends) if self.ends else values


def _legend(lines: Sequence[tuple[tuple[int, int, int], str]], width: int) -> np.ndarray:
    """Return names in their colours, as many in a line as fit, uint8 (rows, width, 3)."""
    font = ImageFont.load_default(LINE * 0.6)
    wanted = max([font.getlength(text) for _, text in lines], default=0) + 2 * LINE
    columns = max(1, int(width // wanted))
    picture = Image.new("RGB", (width, LINE * -(-len(lines) // columns)))
    pen = ImageDraw.Draw(picture)
    for number, (colour, text) in enumerate(lines):
        left, top = number % columns * width // columns, number // columns * LINE
        pen.rectangle((left + 4, top + 6, left + 12, top + 14), fill=colour)
        pen.text((left + LINE, top + LINE // 2), text, fill="white", font=font, anchor="lm")
    return np.asarray(picture)
