"""Pictures of classifiers: that they are drawn, and that what they show follows the numbers."""

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.core.attention_overlay import draw_attention, overlay
from foveal.core.classification_plots import draw_confusion, draw_reliability, draw_roc


def answers(classes=3, cases=60):
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(cases) % classes
    logits = torch.randn(cases, classes, generator=generator) + 2 * torch.nn.functional.one_hot(truth, classes)
    return truth, logits.softmax(1)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.mark.parametrize("classes", [2, 3])
def test_every_picture_is_drawn_and_changes_with_the_answers(tmp_path, classes):
    names = ["no", "yes", "perhaps"][:classes]
    truth, probabilities = answers(classes)
    better = torch.nn.functional.one_hot(truth, classes).double()
    for number, each in enumerate((probabilities, better)):
        draw_reliability(truth, each, tmp_path / f"reliability{number}.png")
        draw_roc(truth, each, names, tmp_path / f"roc{number}.png")
        draw_confusion(torch.eye(classes).long() * (5 + number), names, tmp_path / f"confusion{number}.png")
    for kind in ("reliability", "roc", "confusion"):
        first, second = (pixels(tmp_path / f"{kind}{number}.png") for number in (0, 1))
        assert first.std() > 5
        assert first.shape != second.shape or (first != second).any()


def test_a_class_without_cases_stops_no_curve(tmp_path):
    truth, probabilities = torch.zeros(5, dtype=torch.long), torch.full((5, 3), 1 / 3)
    draw_roc(truth, probabilities, ["a", "b", "c"], tmp_path / "roc.png")
    draw_confusion(torch.zeros(3, 3, dtype=torch.long), ["a", "b", "c"], tmp_path / "confusion.png")
    assert {path.name for path in tmp_path.iterdir()} == {"roc.png", "confusion.png"}


def test_the_overlay_has_the_first_colour_where_attention_is_low_and_the_last_where_it_is_high():
    image = np.full((1, 20, 30), 0.5, np.float32)
    attention = np.zeros((2, 3), np.float32)
    attention[:, 2] = 1
    found = overlay(image, attention, 0, 1, colours="gray")
    assert found.shape == (20, 30, 3)
    assert found.dtype == np.uint8
    assert found[10, 2].tolist() == [64, 64, 64]
    assert found[10, 28].tolist() == [191, 191, 191]
    assert overlay(image, attention, 0, 2, colours="gray")[10, 28].tolist() == pytest.approx([128] * 3, abs=1)


def test_attention_is_drawn_with_a_panel_for_each_map(tmp_path):
    image = np.random.default_rng(0).random((3, 32, 40)).astype(np.float32)
    maps = [(f"scale {i}", np.random.default_rng(i).random((8, 10)), (0.0, 2.0) if i else None) for i in range(3)]
    draw_attention(image, maps[:1], tmp_path / "one.png")
    draw_attention(image, maps, tmp_path / "three.png", "a title")
    draw_attention(image, [("flat", np.ones((4, 5)), None)], tmp_path / "flat.png")
    assert pixels(tmp_path / "three.png").shape[1] == 2 * pixels(tmp_path / "one.png").shape[1]
