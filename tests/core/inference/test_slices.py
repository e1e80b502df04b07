import numpy as np
import pytest

from foveal.core.inference import slices
from foveal.core.inference.engine import Engine
from foveal.core.inference.slices import along
from foveal.tests.fixtures.programs import ToyProgram

X = np.random.default_rng(0).random((1, 5, 6, 7), dtype=np.float32)


def numbered(**card):
    """Writes into each slice how many came before it, and adds it to what it sees."""
    seen = []

    def program(x):
        seen.append(tuple(x.shape[-2:]))
        return x + float(len(seen) - 1)

    return ToyProgram(program, channels=("mr",), **card), seen


@pytest.mark.parametrize(("axis", "place"), [(2, 0), (1, 1), (0, 2)])
@pytest.mark.parametrize("slab", [1, slices.SLAB])
def test_slices_are_taken_along_the_axis_of_the_card_and_put_back(monkeypatch, axis, place, slab):
    monkeypatch.setattr(slices, "SLAB", slab)
    program, seen = numbered(axis=axis)
    y = Engine(program, program.card, tile="whole").array(X)
    number = np.arange(X.shape[1 + place]).reshape([-1 if each == place else 1 for each in range(3)])
    assert np.allclose(y, X + number)
    assert set(seen) == {tuple(np.delete(X.shape[1:], place))}


def test_programs_of_three_dimensions_have_no_slices():
    program, seen = numbered(axis=0, dimensions=3)
    Engine(program, program.card, tile="whole").array(X)
    assert seen == [(6, 7)]


class Volume:
    """Counts what is read of it."""

    geometry = None
    spatial = 3
    shape = (1, 40, 6, 50)

    def __init__(self):
        self.reads = 0

    def read(self, window):
        self.reads += 1
        return np.zeros((1, *(part.stop - part.start for part in window)), np.float32)


class Rows:
    """A sink that knows of its rows alone."""

    geometry = None
    rows_done = 0

    def finish(self, rows, carry):
        self.rows_done = rows


def test_neighbouring_slices_are_read_together():
    volume = Volume()
    turned, _ = along(volume, Rows(), 0)
    for number in range(50):
        assert turned.read((slice(number, number + 1), slice(0, 40), slice(0, 6))).shape == (1, 1, 40, 6)
    assert volume.reads == 1


def test_the_rows_of_the_file_are_finished_with_the_last_slice():
    sink = Rows()
    _, turned = along(Volume(), sink, 0)
    turned.finish(49, {})
    assert (sink.rows_done, turned.rows_done) == (0, 0)
    turned.finish(50, {})
    assert (sink.rows_done, turned.rows_done) == (40, 50)
