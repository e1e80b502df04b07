"""What a run keeps of its cases to be looked at: the best, the median and the worst of an evaluation."""

from __future__ import annotations

import json
import math
import re
import shutil
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..cases import Case, everywhere

FACTS = "exhibit.json"
KEPT = 9  # cases whose pictures are in memory: the best, the worst, and those around the median
LARGEST = 768  # pixels along a side of a picture in colour


@dataclass(frozen=True)
class Exhibit:
    """What is shown of one case.

    Attributes:
        kind: how, one of the files in `template/kinds`.
        pictures: {title: uint8 (H, W, 3), (H, W, 4) with opacity, or (H, W) of values that are kept exactly}.
        facts: what that kind wants to know besides, in JSON's values.
    """

    kind: str
    pictures: dict[str, NDArray[np.uint8]]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Which case it is, and where it stands among the others.

    Attributes:
        place: "best", "median" or "worst"; "only" where there is one case.
        set: the set of the case.
        name: its name.
        metric: by which the cases are ranked.
        mode: whether more ("max") or less ("min") of it is better.
        score: what the case has in it.
        rank: 1 for the best.
        cases: how many have a score.
    """

    place: str
    set: str
    name: str
    metric: str
    mode: Literal["max", "min"]
    score: float
    rank: int
    cases: int


@dataclass(frozen=True)
class _Kept:
    score: float
    set: str
    name: str
    exhibit: Exhibit

    @property
    def key(self) -> tuple[float, str, str]:
        return self.score, self.set, self.name


class Showcase:
    """Keeps, while cases are scored one by one, those that may turn out the best, the median or the worst.

    At most `KEPT` exhibits are in memory. Of more cases, those are kept whose rank is nearest to the median of what has
    been scored so far; so with very many the one that is shown may be some ranks off the median, which it says.

    Args:
        metric: name of the metric in the cases; those where it is missing or not-a-number are left out.
        mode: whether more ("max") or less ("min") of it is better.
    """

    def __init__(self, metric: str, mode: Literal["max", "min"] = "max") -> None:
        self.metric = metric
        self.mode = mode
        self._scores: list[float] = []
        self._kept: list[_Kept] = []

    def offer(self, case: Case, draw: Callable[[], Exhibit]) -> None:
        """Take note of a case; it is drawn only if it is to be kept."""
        score = float(case.get(self.metric, math.nan))
        if math.isnan(score):
            return
        insort(self._scores, score)
        standing = sorted([*(each.score for each in self._kept), score])
        if len(standing) > KEPT:
            dropped = max(standing[1:-1], key=self._distance)
            if dropped == score:
                return
            self._kept.remove(next(each for each in self._kept if each.score == dropped))
        exhibit = draw()
        if exhibit.pictures:
            self._kept.append(_Kept(score, case.get("set", ""), case.get("name", ""), _reduced(exhibit)))

    def chosen(self) -> list[tuple[Place, Exhibit]]:
        """Return the best, the median and the worst case over all processes, in this order; fewer of fewer cases."""
        scores = sorted(everywhere(self._scores), reverse=self.mode == "max")
        places = self._places(scores, everywhere([each.key for each in self._kept]))
        ours = {each.key: each.exhibit for each in self._kept}
        drawn = dict(everywhere([(place, ours[key]) for key, place in places.items() if key in ours]))
        return [(place, drawn[place]) for place in places.values()]

    def _places(
        self, scores: Sequence[float], standing: Sequence[tuple[float, str, str]]
    ) -> dict[tuple[float, str, str], Place]:
        """Return which of the cases kept anywhere stand at which place; `scores` are all, the best first."""
        ranked = sorted(standing, reverse=self.mode == "max")
        if not ranked:
            return {}
        found = {"only" if len(ranked) == 1 else "best": ranked[0]}
        if len(ranked) > 2:
            middle = (len(scores) - 1) / 2
            found["median"] = min(ranked[1:-1], key=lambda key: abs(scores.index(key[0]) - middle))
        if len(ranked) > 1:
            found["worst"] = ranked[-1]
        return {
            (score, group, name): Place(
                place, group, name, self.metric, self.mode, score, scores.index(score) + 1, len(scores)
            )
            for place, (score, group, name) in found.items()
        }

    def _distance(self, score: float) -> float:
        """Return how many ranks a score is from the median of what has been scored."""
        return abs(bisect_left(self._scores, score) - (len(self._scores) - 1) / 2)


def write_showcase(folder: Path, chosen: Sequence[tuple[Place, Exhibit]]) -> None:
    """Write exhibits into a folder of their own each; what an earlier evaluation left in `folder` is replaced."""
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    for number, (place, exhibit) in enumerate(chosen, start=1):
        name = re.sub(r"[^\w.-]+", "_", f"{place.set}_{place.name}")[:80]
        _write_exhibit(beside / f"{number}_{place.place}_{name}", place, exhibit)
    shutil.rmtree(folder, ignore_errors=True)
    if chosen:
        beside.rename(folder)


def _write_exhibit(folder: Path, place: Place, exhibit: Exhibit) -> None:
    from PIL import Image

    folder.mkdir(parents=True)
    files = {title: f"{number}.png" for number, title in enumerate(exhibit.pictures, start=1)}
    for title, picture in exhibit.pictures.items():
        Image.fromarray(picture).save(folder / files[title], compress_level=1)
    facts = asdict(place) | {"kind": exhibit.kind, "pictures": files, "facts": exhibit.facts}
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _reduced(exhibit: Exhibit) -> Exhibit:
    """Return an exhibit whose pictures in colour have at most `LARGEST` pixels along a side."""
    return replace(exhibit, pictures={title: _smaller(each) for title, each in exhibit.pictures.items()})


def _smaller(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    if picture.ndim == 2 or max(picture.shape[:2]) <= LARGEST:
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return np.asarray(image)


def layers(pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Return the first picture, and of each other one, (H, W, 4), only the pixels in which it differs from the first.

    Args:
        pictures: (H, W, 3) each.
    """
    ground, *others = pictures
    drawn = [(each != ground).any(axis=2, keepdims=True) for each in others]
    return [
        ground,
        *(
            np.concatenate([each * is_drawn, 255 * is_drawn], axis=2, dtype=np.uint8, casting="unsafe")
            for each, is_drawn in zip(others, drawn, strict=True)
        ),
    ]
