"""What the report shows of a bag: its slide, or the map of its tiles, with the attention and the tiles it lies on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib import colormaps
from PIL import Image

from ...core.cases import Case
from ...core.errors import UserError
from ...core.report.showcase import LARGEST, Exhibit
from ...data.datasets.bag import Bag
from ...data.io.features import Features
from ...data.io.slide import SlideSource
from .slides import SUFFIXES
from .tile_files import check_slide, downsample_of

logger = logging.getLogger(__name__)

TOP = 6  # tiles that are shown by themselves
TILE = 192  # pixels along a side of such a picture
COLOURMAP = "turbo"
LEAST_REACH = 2.0  # average tiles at the strong end of the colours, so that even attention does not look strong
FAINTEST = 0.25  # opacity of a tile without attention; that of the most attended is 1
STOPS = 9  # colours of the scale
GREY = 214  # of tiles where no slide is at hand


class _Backdrop(Protocol):
    """What tiles lie on.

    Attributes:
        size: (width, height) in pixels of the finest level.
        overview: the whole of it, uint8 (h, w, 3).
    """

    size: tuple[int, int]
    overview: np.ndarray

    def cut(self, box: tuple[int, int, int, int]) -> Image.Image | None:
        """Return the picture of a tile; None where there is none."""
        ...


def bag_exhibit(bag: Bag, case: Case, classes: Sequence[str], shares: np.ndarray | None) -> Exhibit:
    """Return what the report shows of a bag; nothing of one whose tiles lie nowhere.

    Args:
        bag: the bag.
        case: its results.
        classes: names of the classes.
        shares: of its tiles in the slide's feature, (N,); None of a network without attention.
    """
    found = bag.read()
    if found.coords is None:
        return Exhibit("heatmap", {})
    corners, side = found.coords.astype(np.int64), _side(found)
    facts: dict[str, Any] = {
        "truth": case["truth"],
        "predicted": case["predicted"],
        "probabilities": {name: float(case[f"probability_{name}"]) for name in classes},
        "tiles": len(corners),
        "top": [],
        "most": 0.0,
    }
    with _backdrop(bag, corners, side) as backdrop:
        slide = _small(backdrop.overview)
        pictures = {"slide": np.asarray(slide)}
        if shares is not None:
            times = shares * len(shares)  # 1 is an average tile
            pictures["attention"] = _painted(corners, side, times, slide.size, backdrop.size)
            facts["most"] = max(float(times.max()), LEAST_REACH)
            facts["colours"] = ["#{:02x}{:02x}{:02x}".format(*each) for each in _colours(np.linspace(0, 1, STOPS))]
            for rank, tile in enumerate(np.argsort(-times, kind="stable")[:TOP], start=1):
                x, y = corners[tile].tolist()
                width, height = backdrop.size
                box = [100 * x / width, 100 * y / height, 100 * side / width, 100 * side / height]
                facts["top"].append({"box": [round(each, 3) for each in box], "times": float(times[tile])})
                if (picture := backdrop.cut((x, y, x + side, y + side))) is not None:
                    pictures[str(rank)] = np.asarray(picture.resize((TILE, TILE), Image.Resampling.LANCZOS))
    return Exhibit("heatmap", pictures, facts)


class _Slide:
    def __init__(self, source: SlideSource) -> None:
        self.source = source
        self.size = source.shape[2], source.shape[1]
        self.overview = source.overview

    def cut(self, box: tuple[int, int, int, int]) -> Image.Image:
        left, top, right, bottom = box
        width, height = self.size
        return Image.fromarray(self.source.pixels((slice(top, min(bottom, height)), slice(left, min(right, width)))))


class _Photograph:
    def __init__(self, path: Path) -> None:
        self.picture = Image.open(path).convert("RGB")
        self.size = self.picture.size
        self.overview = np.asarray(self.picture)

    def cut(self, box: tuple[int, int, int, int]) -> Image.Image:
        return self.picture.crop(box)


class _Map:
    """The tiles themselves, grey on white, on a slide as large as the file tells or as they need."""

    def __init__(self, corners: np.ndarray, side: int, facts: Mapping[str, Any]) -> None:
        ends = (corners.max(axis=0) + side).tolist()
        self.size = tuple(
            int(facts.get(f"level0_{axis}", end)) for axis, end in zip(("width", "height"), ends, strict=True)
        )
        scale = min(LARGEST / max(self.size), 1.0)
        width, height = (max(round(each * scale), 1) for each in self.size)
        self.overview = np.full((height, width, 3), 255, np.uint8)
        for rows, columns in _places(corners, side, (width, height), self.size):
            self.overview[rows, columns] = GREY

    def cut(self, box: tuple[int, int, int, int]) -> None:
        return None


@contextmanager
def _backdrop(bag: Bag, corners: np.ndarray, side: int) -> Iterator[_Backdrop]:
    """Give the slide or photograph of a bag; where there is none, or it cannot be read, the map of its tiles."""
    if bag.picture is not None and bag.picture.suffix.lower() not in SUFFIXES and bag.picture.is_file():
        yield _Photograph(bag.picture)
        return
    source = None
    if bag.picture is not None:
        try:
            source = SlideSource(bag.picture, slide_mpp=bag.read().facts.get("level0_mpp"))
            check_slide(bag.path, corners, bag.read().facts, source)
            slide = _Slide(source)
        except UserError as error:
            logger.warning("%s The report shows its tiles alone.", error)
            if source is not None:
                source.close()
                source = None
    try:
        yield slide if source is not None else _Map(corners, side, bag.read().facts)
    finally:
        if source is not None:
            source.close()


def _side(found: Features) -> int:
    """Return pixels of the finest level along a side of a tile, as the file tells or as neighbours lie apart."""
    facts = found.facts
    if "patch_size_level0" in facts:
        return int(facts["patch_size_level0"])
    if "patch_size" in facts:
        return round(facts["patch_size"] * downsample_of(facts))
    steps = np.concatenate([np.diff(np.unique(each)) for each in found.coords.T])
    return int(steps.min()) if len(steps) else 256


def _small(overview: np.ndarray) -> Image.Image:
    picture = Image.fromarray(overview)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return picture


def _painted(
    corners: np.ndarray, side: int, times: np.ndarray, size: tuple[int, int], level0_size: tuple[int, int]
) -> np.ndarray:
    """Return the tiles in the colours of their attention, uint8 (h, w, 4); where they overlap the strongest is seen.

    Args:
        corners: (N, 2), x and y in pixels of the finest level.
        side: of a tile, in such pixels.
        times: the tiles' attention, 1 being the average, (N,).
        size: (width, height) of the picture.
        level0_size: that of the finest level.
    """
    strength = np.full(size[::-1], np.nan, np.float32)
    order = np.argsort(times, kind="stable")
    for place, value in zip(_places(corners[order], side, size, level0_size), times[order], strict=True):
        strength[place] = value
    unit = np.nan_to_num(strength / max(times.max(), LEAST_REACH))
    opacity = np.where(np.isnan(strength), 0, FAINTEST + (1 - FAINTEST) * unit)
    return np.concatenate([_colours(unit), (255 * opacity).round().astype(np.uint8)[..., None]], axis=2)


def _places(
    corners: np.ndarray, side: int, size: tuple[int, int], level0_size: tuple[int, int]
) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of a picture on which each tile lies, one pixel of each at least."""
    scale = np.divide(size, level0_size)
    first = np.floor(corners * scale).astype(np.int64)
    last = np.maximum(np.round((corners + side) * scale).astype(np.int64), first + 1)
    for (left, top), (right, bottom) in zip(first.tolist(), last.tolist(), strict=True):
        yield slice(top, bottom), slice(left, right)


def _colours(unit: np.ndarray) -> np.ndarray:
    """Return the colours of values in 0..1, uint8 (..., 3)."""
    return colormaps[COLOURMAP](unit, bytes=True)[..., :3]
