"""Curves as lines of a drawing."""

import pytest

from foveal.core.report.curves import BOTTOM, HEIGHT, LEFT, MOST_POINTS, RIGHT, TOP, WIDTH, marks, panels
from foveal.tests.fixtures.run_folder import made_curves


def test_baselines_stand_in_the_panel_of_their_metric_and_the_wanted_one_is_first():
    psnr, loss = panels(made_curves(), first="psnr")
    assert (psnr.title, loss.title) == ("psnr", "loss")
    assert [(each.label, each.style) for each in psnr.lines] == [("val", "val"), ("bicubic", "baseline")]
    assert psnr.lines[0].points == [(9.0, 20.9), (19.0, 21.9), (29.0, 22.9), (39.0, 23.9)]
    assert loss.range == (0, 39)


def test_lines_stay_inside_the_axes():
    for panel in panels(made_curves()):
        for line in panel.lines:
            places = [tuple(map(float, each.split(","))) for each in line.path[1:].split("L")]
            assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in places)


def test_long_lines_are_thinned_and_keep_their_end():
    (line,) = panels([{"step": str(i), "loss": str(i % 7)} for i in range(5000)])[0].lines
    assert len(line.points) <= MOST_POINTS
    assert line.points[-1] == (4999, 4999 % 7)


def test_values_that_cannot_be_drawn_are_left_out():
    rows = [{"step": "1", "loss": "nan", "dice": "inf"}, {"step": "2", "loss": "0.5", "dice": ""}]
    (panel,) = panels(rows)
    assert panel.lines[0].points == [(2, 0.5)]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 17), (0.861, 0.8655), (1e-9, 4e-9), (0, 123456)])
def test_marks_are_round_and_inside(low, high):
    found = marks(low, high)
    assert 2 <= len(found) <= 6
    assert low - 1e-9 * abs(low) <= found[0] < found[-1] <= high * (1 + 1e-9)


@pytest.mark.parametrize(
    ("steps", "told"), [([0], ["0"]), ([0, 1], ["0", "1"]), ([0, 40], ["0", "10", "20", "30", "40"])]
)
def test_marks_of_steps_are_whole(steps, told):
    (panel,) = panels([{"step": step, "loss": 0.5} for step in steps])
    assert [text for _, text in panel.steps] == told


def test_a_metric_whose_name_ends_in_another_is_no_baseline_of_it():
    rows = [{"step": 1, "val/accuracy": 0.9, "val/balanced_accuracy": 0.8, "val/simple_accuracy": 0.5}]
    found = {panel.title: [line.label for line in panel.lines] for panel in panels(rows)}
    assert found == {"accuracy": ["val", "simple"], "balanced_accuracy": ["val"]}
