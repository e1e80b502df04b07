"""Which cases a run keeps as pictures, in how much memory, and what of them is on the disk."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.core.report.showcase import FACTS, KEPT, LARGEST, Exhibit, Showcase, layers, write_showcase


def picture(value: int, side: int = 2) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


def offered(scores: Iterable[float], mode: str = "max") -> Showcase:
    showcase = Showcase("score", mode)
    for number, score in enumerate(scores):
        case = {"set": "s", "name": str(number), "score": score}
        showcase.offer(case, lambda: Exhibit("columns", {"p": picture(0)}))
    return showcase


@pytest.mark.parametrize(
    ("mode", "names", "ranks"), [("max", ["3", "1", "4"], [1, 3, 5]), ("min", ["4", "1", "3"], [1, 3, 5])]
)
def test_best_median_and_worst_are_chosen(mode, names, ranks):
    chosen = [place for place, _ in offered([2.0, 3.0, float("nan"), 9.0, 1.0, 4.0], mode).chosen()]
    assert [each.place for each in chosen] == ["best", "median", "worst"]
    assert [each.name for each in chosen] == names
    assert [each.rank for each in chosen] == ranks
    assert {each.cases for each in chosen} == {5}


@pytest.mark.parametrize(("scores", "places"), [([], []), ([1.0], ["only"]), ([1.0, 1.0], ["best", "worst"])])
def test_fewer_cases_have_fewer_places(scores, places):
    chosen = [place for place, _ in offered(scores).chosen()]
    assert [each.place for each in chosen] == places
    assert len({each.name for each in chosen}) == len(places)


def test_of_many_cases_few_are_drawn_and_fewer_kept():
    scores = np.random.default_rng(0).normal(size=1000)
    showcase, drawn = Showcase("score"), []
    for number, score in enumerate(scores):

        def draw(number: int = number) -> Exhibit:
            drawn.append(number)
            return Exhibit("columns", {"p": picture(0)})

        showcase.offer({"set": "s", "name": str(number), "score": score}, draw)
        assert len(showcase._kept) <= KEPT
    best, median, worst = (place for place, _ in showcase.chosen())
    assert (best.score, worst.score) == (scores.max(), scores.min())
    assert abs(median.rank - 500) <= 25
    assert len(drawn) < 200


def test_cases_without_the_metric_or_without_pictures_are_left_out():
    showcase = Showcase("score")
    showcase.offer({"set": "s", "name": "a"}, lambda: pytest.fail("drawn"))
    showcase.offer({"set": "s", "name": "b", "score": 1.0}, lambda: Exhibit("columns", {}))
    assert showcase.chosen() == []


def test_pictures_are_written_with_what_they_are(tmp_path: Path):
    showcase, exact = Showcase("score"), np.arange(256, dtype=np.uint8).reshape(4, 64)
    pictures = {"<large>": picture(7, 2 * LARGEST), "exact": np.tile(exact, (300, 1))}
    showcase.offer({"set": "s", "name": "../a b", "score": 0.5}, lambda: Exhibit("slider", pictures, {"before": "x"}))
    write_showcase(tmp_path / "showcase_val", showcase.chosen())
    (folder,) = (tmp_path / "showcase_val").iterdir()
    assert folder.name == "1_only_s_.._a_b"
    facts = json.loads((folder / FACTS).read_text())
    assert (facts["name"], facts["kind"], facts["facts"]) == ("../a b", "slider", {"before": "x"})
    assert Image.open(folder / facts["pictures"]["<large>"]).size == (LARGEST, LARGEST)
    assert np.array_equal(np.asarray(Image.open(folder / facts["pictures"]["exact"])), pictures["exact"])


def test_an_evaluation_replaces_what_an_earlier_one_left(tmp_path: Path):
    for scores in ([1.0, 2.0, 3.0], [5.0]):
        write_showcase(tmp_path / "showcase_val", offered(scores).chosen())
    assert [each.name for each in (tmp_path / "showcase_val").iterdir()] == ["1_only_s_0"]
    write_showcase(tmp_path / "showcase_val", [])
    assert list(tmp_path.iterdir()) == []


def test_layers_hold_only_what_differs():
    drawn = picture(9)
    drawn[0, 1] = (1, 2, 3)
    ground, layer = layers([picture(9), drawn])
    assert (ground == 9).all()
    assert layer[0, 1].tolist() == [1, 2, 3, 255]
    assert layer[..., 3].sum() == 255
