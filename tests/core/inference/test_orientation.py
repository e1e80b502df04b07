from itertools import permutations, product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.core.inference.engine import Engine
from foveal.core.inference.orientation import oriented, turn_between
from foveal.tests.fixtures.programs import ToyProgram, identity

ALL = ["".join(each) for order in permutations(("RL", "AP", "SI")) for each in product(*order)]
X = np.random.default_rng(0).random((1, 11, 23, 17), dtype=np.float32)
FACTS = {"channels": ("ct",), "dimensions": 3, "orientation": "SPL"}


def lopsided(**card):
    """A filter that tells the axes and their directions apart."""
    kernel = torch.arange(27.0).view(1, 1, 3, 3, 3) / 351
    return ToyProgram(lambda x: F.conv3d(F.pad(x, (1,) * 6, mode="replicate"), kernel), **FACTS | card)


def whole(program, **options):
    return Engine(program, program.card, tile="whole", **options)


def test_a_turn_puts_each_axis_where_its_letter_is():
    x = torch.arange(24).view(2, 3, 4)  # grows to S, P and L
    assert torch.equal(turn_between("SPL", "SPL").to_network(x), x)
    assert torch.equal(turn_between("SPL", "IPL").to_network(x), x.flip(0))
    assert torch.equal(turn_between("SPL", "RSA").to_network(x), x.permute(2, 0, 1).flip(0).flip(2))
    assert turn_between("SPL", "RSA").of_file(("r", "s", "a")) == ("s", "a", "r")
    assert turn_between("SPL", "").to_network(x).equal(x)


@pytest.mark.parametrize("stored", ALL)
def test_turned_back_a_volume_is_what_it_was(stored):
    x = torch.from_numpy(X)
    for wanted in ("SPL", "RAS", "ALI"):
        turn = turn_between(stored, wanted)
        assert torch.equal(turn.to_file(turn.to_network(x)), x)
        assert tuple(np.array(x.shape)[1:]) == turn.of_file(tuple(turn.to_network(x).shape[1:]))


@pytest.mark.parametrize("stored", ALL)
@pytest.mark.parametrize("tta", [False, True])
def test_the_program_sees_the_axes_of_its_card(stored, tta):
    program = lopsided()
    turn = turn_between(stored, "SPL")
    seen = turn.to_network(torch.from_numpy(X)).numpy()
    expected = turn.to_file(torch.from_numpy(whole(program, tta=tta).array(seen))).numpy()
    found = oriented(whole(program, tta=tta), stored).array(X)
    assert np.allclose(found, expected, atol=1e-6)
    assert not np.allclose(whole(program, tta=tta).array(X), expected, atol=1e-3) or stored == "SPL" or tta


@pytest.mark.parametrize("stored", ["SPL", "RAS", "PIL"])
def test_tiles_have_the_card_s_size_along_its_own_axes(stored):
    program = identity(**FACTS, tile=(4, 8, 6), overlap=(2, 4, 2), size_multiple=(4, 2, 3))
    assert np.abs(oriented(Engine(program, program.card), stored).array(X) - X).max() <= 1e-6
    assert set(program.extents) == {(4, 8, 6)}


def test_the_variance_over_views_is_turned_too():
    program = ToyProgram(lambda x: torch.cat([x, lopsided().function(x)], 1), **FACTS, activation="argmax")
    turn = turn_between("LIA", "SPL")
    seen = turn.to_network(torch.from_numpy(X)).numpy()
    expected = turn.to_file(torch.from_numpy(whole(program).with_variance().array(seen))).numpy()
    for engine in (oriented(whole(program).with_variance(), "LIA"), oriented(whole(program), "LIA").with_variance()):
        assert np.allclose(engine.array(X), expected, atol=1e-6)


def test_nothing_is_turned_that_lies_right_or_may_lie_anyhow():
    engine = whole(lopsided())
    assert oriented(engine, "SPL") is engine
    anyhow = whole(lopsided(orientation=""))
    assert oriented(anyhow, "RAS") is anyhow
