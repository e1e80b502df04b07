from itertools import pairwise

import numpy as np
import pytest
import torch

from foveal.core.errors import UserError
from foveal.core.inference.engine import Engine
from foveal.tests.fixtures.programs import ToyProgram, blur, identity, nearest

SHAPES = [(1, 1), (5, 3), (17, 16), (31, 47), (64, 33), (7, 6, 5), (19, 21, 17)]
TILES = [(16, 4), (16, 8), (7, 0), (7, 3), (5, 1), ("whole", None), ("auto", None)]


def noise(*shape, highest=65535):
    """Integers over the whole range, as an image holds them, divided by the highest."""
    return (np.random.default_rng(0).integers(0, highest + 1, shape) / highest).astype(np.float32)


def engine(program, **options):
    return Engine(program, program.card, **options)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("multiple", [1, 4])
def test_an_identity_program_returns_its_input(shape, multiple):
    for highest in (255, 65535):
        x = noise(3, *shape, highest=highest)
        for tile, overlap in TILES:
            y = engine(identity(size_multiple=multiple), tile=tile, overlap=overlap).array(x)
            assert np.abs(y - x).max() <= 1e-6
            assert np.array_equal((y * highest).round(), (x * highest).round())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_scale_is_respected_at_every_tile(scale):
    x = noise(3, 29, 37)
    y = engine(nearest(scale), tile=11, overlap=5).array(x)
    assert np.abs(y - x.repeat(scale, 1).repeat(scale, 2)).max() <= 1e-6


def test_enough_overlap_gives_the_whole_image_result_between_the_borders():
    x, program = noise(3, 48, 72), blur(2)
    whole = engine(program, tile="whole").array(x)
    # A ramp of 8 in the middle of 12 shared pixels leaves two on each side, as many as the filter reaches.
    assert np.abs(engine(program, tile=24, overlap=12).array(x) - whole).max() <= 1e-6
    assert np.abs(engine(program, tile=24, overlap=0).array(x) - whole).max() > 1e-3


def test_tiles_have_one_size_and_are_padded_to_the_multiple():
    program = identity(size_multiple=8)
    engine(program, tile=20, overlap=4).array(noise(3, 61, 13))
    assert set(program.extents) == {(24, 16)}


def test_padding_mirrors_the_image_and_repeats_the_edge_where_it_is_too_short():
    seen = []
    program = ToyProgram(lambda x: seen.append(x) or x.clone(), size_multiple=4, channels=("grey",))
    engine(program).array(np.arange(6, dtype=np.float32).reshape(1, 1, 6))
    assert seen[0][0, 0].tolist() == [[0, 1, 2, 3, 4, 5, 4, 3]] * 4


def test_flips_of_augmentation_are_turned_back_at_every_tile():
    x = noise(3, 40, 31)
    assert np.abs(engine(identity(), tile=12, overlap=4, tta=True).array(x) - x).max() <= 1e-6


def test_bfloat16_computes_less_exactly_and_returns_float32():
    net = torch.nn.Conv2d(3, 3, 3, padding=1)
    program, x = ToyProgram(net), noise(3, 20, 20)
    exact, rounded = (engine(program, precision=each).array(x) for each in ("float32", "bfloat16"))
    assert rounded.dtype == np.float32
    assert 0 < np.abs(exact - rounded).max() < 0.05


@pytest.mark.parametrize(
    ("function", "message"),
    [(lambda x: x[:, :, 1:], "its card promises"), (lambda x: x * float("nan"), "is not finite")],
)
def test_a_broken_program_is_told(function, message):
    with pytest.raises(UserError, match=message):
        engine(ToyProgram(function)).array(noise(3, 9, 9))


def test_other_channels_than_the_cards_are_refused():
    with pytest.raises(UserError, match="has 1 channels"):
        engine(identity()).array(noise(1, 9, 9))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tile": 0}, "--tile"),
        ({"tile": 8, "overlap": 5}, "--overlap"),
        ({"precision": "float8"}, "--precision"),
        ({"device": "toaster"}, "--device toaster"),
        ({"device": "meta"}, "--device meta"),
        ({"device": "cuda:99"}, "--device cuda:99"),
    ],
)
def test_impossible_options_are_refused_before_any_work(options, named):
    with pytest.raises(UserError, match=named):
        engine(identity(), **options)


class Recorder:
    """A sink that already has some rows."""

    def __init__(self, rows_done=0):
        self.rows_done = rows_done
        self.parts, self.committed = [], False

    def write(self, rows):
        self.parts.append(rows.copy())
        self.rows_done += rows.shape[1]

    def commit(self):
        self.committed = True


class Window:
    """A source that notes what is read."""

    def __init__(self, array):
        self.array, self.shape, self.tops = array, array.shape, []

    def read(self, slices):
        self.tops.append(slices[0].start)
        return self.array[:, *slices]


@pytest.mark.parametrize("rows_done", [0, 1, 9, 10, 11, 40, 77, 99, 100])
def test_a_resumed_run_writes_the_same_rows_and_reads_no_finished_ones(rows_done):
    x, program = noise(3, 50, 20), nearest(2)
    expected = engine(program, tile=12, overlap=4).array(x)
    source, sink = Window(x), Recorder(rows_done)
    engine(program, tile=12, overlap=4).run(source, sink)
    assert sink.committed
    assert sink.rows_done == 100
    if sink.parts:
        assert np.array_equal(np.concatenate(sink.parts, axis=1), expected[:, rows_done:])
    assert all(2 * (top + 12) > rows_done for top in source.tops)


def test_rows_are_written_as_soon_as_they_are_final():
    seen = []
    engine(identity(), tile=10, overlap=2).run(Window(noise(3, 100, 30)), Recorder(), lambda *row: seen.append(row))
    assert len(seen) == 13
    assert seen[-1] == (100, 100)
    assert all(later > earlier for (earlier, _), (later, _) in pairwise(seen))
