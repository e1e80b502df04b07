"""How large `init` proposes trainings."""

import pytest
import torch

from foveal.data.init_size import FEWEST, size_of


@pytest.mark.parametrize(
    ("asked", "has_gpu", "cases", "is_light", "why"),
    [
        ("auto", False, 1000, True, "there is no GPU here"),
        ("auto", True, FEWEST - 1, True, f"{FEWEST - 1} cases to train on are few"),
        ("auto", True, FEWEST, False, f"there are a GPU and {FEWEST} cases to train on"),
        ("full", False, 1, False, "asked for"),
        ("light", True, 1000, True, "asked for"),
    ],
)
def test_the_size_follows_from_the_machine_and_the_data(monkeypatch, asked, has_gpu, cases, is_light, why):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    size = size_of(asked, cases, "a wide one, 300000 steps")
    assert size.is_light == is_light
    assert size.of(1, 2) == (1 if is_light else 2)
    other = "full" if is_light else "light"
    assert size.told.endswith(
        f", as {why}; published: a wide one, 300000 steps; --size {other} proposes the {other} one"
    )
