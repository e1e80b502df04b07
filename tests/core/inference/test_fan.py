from contextlib import contextmanager

import numpy as np
import pytest

from foveal.core.inference.engine import Engine
from foveal.core.inference.fan import Fan, Part
from foveal.tests.fixtures.programs import slanted

X = np.random.default_rng(0).random((3, 90, 40), dtype=np.float32)


class Memory:
    """A sink in memory that keeps its rows and what is carried over, as files do."""

    geometry = None

    def __init__(self, channels):
        self.array = np.full((channels, *X.shape[1:]), -1.0, np.float32)
        self.rows_done, self.carry, self.appeared = 0, {}, False

    def aside(self, window):
        return None

    def write(self, window, values, aside):
        self.array[:, *window] = values

    def finish(self, rows, carry):
        self.rows_done, self.carry = rows, {place: array.copy() for place, array in carry.items()}

    @contextmanager
    def committing(self):
        yield
        self.appeared = True


class Source:
    geometry = None
    spatial = 2
    shape = X.shape

    def read(self, window):
        return X[:, *window]

    def is_empty(self, window):
        return False


def parts(*sinks):
    channels = (slice(0, 3), slice(0, 3))
    return [Part(*each) for each in zip(sinks, channels, ("none", "argmax"), strict=False)]


def test_each_part_gets_its_channels_and_makes_of_them_what_it_wants():
    program = slanted()
    engine = Engine(program, program.card, tile=32, overlap=8)
    values, labels = Memory(3), Memory(1)
    engine.run(Source(), Fan(parts(values, labels)))
    expected = engine.array(X)
    assert np.array_equal(values.array, expected)
    assert np.array_equal(labels.array[0], expected.argmax(0))
    assert values.appeared
    assert labels.appeared


def test_parts_that_were_cut_off_at_different_rows_go_on_from_the_first():
    program = slanted()
    engine = Engine(program, program.card, tile=32, overlap=8)
    expected, values, labels = engine.array(X), Memory(3), Memory(1)
    both = Fan(parts(values, labels))
    finish = values.finish
    values.finish = lambda rows, carry: finish(rows, carry) if rows < 60 else (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        engine.run(Source(), both)
    values.finish = finish
    labels.finish(values.rows_done, values.carry)
    values.finish(0, {})  # as a kill between the two leaves them
    assert 0 == both.rows_done < labels.rows_done
    engine.run(Source(), both)
    assert np.array_equal(values.array, expected)
    assert np.array_equal(labels.array[0], expected.argmax(0))


def test_no_part_appears_where_one_fails():
    first, second = Memory(3), Memory(1)

    @contextmanager
    def full():
        raise OSError("no space")
        yield

    second.committing = full
    with pytest.raises(OSError, match="no space"):
        Fan(parts(first, second)).commit()
    assert not first.appeared
