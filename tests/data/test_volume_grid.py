from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from foveal.core.errors import UserError
from foveal.core.inference.arrays import ArraySource
from foveal.data.geometry import VolumeGeometry
from foveal.data.resample import resampled
from foveal.data.volume_grid import Grid, Regridded, RegriddedSink, grid_of
from tests.fixtures.nifti import placed, rotation

X = np.random.default_rng(0).random((2, 12, 10, 9), dtype=np.float32)
GRIDS = [(12, 10, 9), (7, 10, 9), (12, 14, 5), (31, 7, 13), (1, 1, 1), (25, 21, 19), (5, 4, 3), (90, 3, 2)]


def geometry(spacing, shape=(40, 60, 50)):
    """Of (D, H, W), oblique."""
    return VolumeGeometry(shape, placed(rotation(20, (1, 1, 0)), spacing[::-1]))


# The grid


@pytest.mark.parametrize(
    ("has", "wants", "shape", "repeated"),
    [
        ((1, 1, 1), (1, 1, 1), (40, 60, 50), ()),
        ((1, 0.805, 0.8), (1.005, 0.8, 0.807), (40, 60, 50), ()),
        ((1, 0.8, 0.8), (1.02, 0.8, 0.8), (39, 60, 50), ()),
        ((1, 0.8, 0.8), (1.5, 1.5, 1.5), (27, 32, 27), ()),
        ((3, 1, 1), (1, 1, 1), (120, 60, 50), ()),
        ((3.1, 1, 1), (1, 1, 1), (124, 60, 50), (0,)),  # as coarse as that it is not interpolated
        ((1, 5, 1), (1, 1, 2), (40, 300, 25), (1,)),
        ((5, 1, 5), (1, 1, 1), (200, 60, 250), ()),  # there is no one coarse axis
        ((5, 1, 1), (10, 1, 1), (20, 60, 50), ()),  # averaged
        ((0.01, 1, 1), (30, 30, 30), (1, 2, 2), ()),
    ],
)
def test_axes_get_the_samples_that_the_spacing_asks_for(has, wants, shape, repeated):
    grid = grid_of(geometry(has), wants)
    assert (grid.stored, grid.shape) == ((40, 60, 50), shape)
    assert grid.repeated == tuple(axis in repeated for axis in range(3))
    assert grid.changes == (shape != (40, 60, 50))


def test_an_impossible_spacing_is_told():
    with pytest.raises(
        UserError, match="said to be 1000 x 1 x 1 mm, the network takes 1 x 1 x 1 mm: that makes an axis"
    ):
        grid_of(geometry((1000, 1, 1)), (1, 1, 1))


# Reading


class Counting(ArraySource):
    """Notes the slices that are read."""

    def __init__(self, array):
        super().__init__(array)
        self.slices = []

    def read(self, window):
        self.slices += range(window[0].start, window[0].stop)
        return super().read(window)


def windows(shape, sizes, shared=(0, 0, 0)):
    """Windows that cover a grid in the engine's order, each sharing some samples with the next."""
    axes = [
        [slice(max(0, start - more), min(start + size, length)) for start in range(0, length, size)]
        for length, size, more in zip(shape, sizes, shared, strict=True)
    ]
    return product(*axes)


def grid(shape, repeated=(False, False, False)):
    return Grid(X.shape[1:], shape, repeated)


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("repeated", [(False, False, False), (True, False, False), (False, False, True)])
def test_windows_are_exactly_those_of_the_resampled_whole(shape, repeated):
    source = Regridded(ArraySource(X), grid(shape, repeated))
    whole = source.read(tuple(slice(0, size) for size in shape))
    assert whole.shape == source.shape == (2, *shape)
    assert np.allclose(whole, resampled(torch.from_numpy(X), grid(shape, repeated).image_taps()), atol=1e-5)
    other = Regridded(ArraySource(X), grid(shape, repeated))
    for window in windows(shape, (3, 4, 5), (2, 1, 3)):
        assert np.array_equal(other.read(window), whole[:, *window])


def test_every_slice_is_read_once_and_few_rows_are_held():
    stored = Counting(np.random.default_rng(0).random((1, 60, 6, 5), dtype=np.float32))
    source = Regridded(stored, Grid((60, 6, 5), (40, 3, 4), (False, False, False)))
    for window in windows((40, 3, 4), (8, 2, 2), (4, 0, 0)):
        source.read(window)
        assert len(source.rows) <= 12
        assert len(source.slices) <= 16
    assert sorted(stored.slices) == list(range(60))


# Writing


class Recorder:
    """A sink in memory that goes on from what an earlier one has finished; every sample is written once."""

    geometry = None

    def __init__(self, channels, shape=X.shape[1:], rows=0, carry=None):
        self.array = np.full((channels, *shape), np.nan, np.float32)
        self.rows_done, self.carry = rows, carry or {}

    def aside(self, window):
        return window

    def write(self, window, values, aside):
        assert aside == window
        assert np.isnan(self.array[:, *window]).all()
        assert values.size
        self.array[:, *window] = values

    def finish(self, rows, carry):
        assert not np.isnan(self.array[:, self.rows_done : rows]).any()
        assert rows == len(self.array[0]) or np.isnan(self.array[:, rows:]).all()
        self.rows_done, self.carry = rows, carry


def put(sink, values, sizes, start=0, stop=10**6):
    """Write values on a grid window by window, in rows of windows from one to another."""
    for window in windows(values.shape[1:], sizes):
        if start <= window[0].start < stop:
            sink.write(window, values[:, *window].copy(), sink.aside(window))
            if all(each.stop == size for each, size in zip(window[1:], values.shape[2:], strict=True)):
                sink.finish(window[0].stop, {(3, 7): np.array(window[0].stop)})


def made(shape, channels=3):
    return np.random.default_rng(1).random((channels, *shape), dtype=np.float32)


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("sizes", [(99, 99, 99), (4, 3, 5), (1, 2, 1), (2, 99, 1)])
def test_what_is_written_on_the_grid_comes_back_linearly(shape, sizes):
    values, sink = made(shape), Recorder(3)
    put(RegriddedSink(sink, grid(shape), "none"), values, sizes)
    expected = F.interpolate(torch.from_numpy(values)[None], X.shape[1:], mode="trilinear")[0]
    assert np.allclose(sink.array, expected, atol=1e-5)
    assert sink.rows_done == 12


@pytest.mark.parametrize("shape", GRIDS)
def test_labels_are_made_of_what_comes_back(shape):
    values, sink = made(shape, 5), Recorder(1)
    put(RegriddedSink(sink, grid(shape), "argmax"), values, (4, 3, 5))
    expected = F.interpolate(torch.from_numpy(values)[None], X.shape[1:], mode="trilinear")[0]
    assert (sink.array[0] == expected.argmax(0).numpy()).mean() > 0.999


def test_large_blocks_are_brought_back_a_few_rows_at_once(monkeypatch):
    values = made((31, 7, 13))
    sinks = Recorder(3), Recorder(3)
    put(RegriddedSink(sinks[0], grid((31, 7, 13)), "none"), values, (99, 99, 99))
    monkeypatch.setattr("foveal.data.volume_grid.SLAB", 600)
    put(RegriddedSink(sinks[1], grid((31, 7, 13)), "none"), values, (99, 99, 99))
    assert np.array_equal(sinks[0].array, sinks[1].array)


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("depth", [1, 3, 4])
def test_a_new_sink_goes_on_from_what_was_carried(shape, depth):
    values, whole = made(shape), Recorder(3)
    sizes = (depth, 4, 3)
    put(RegriddedSink(whole, grid(shape), "none"), values, sizes)
    for cut in range(depth, shape[0], depth)[:: 1 + shape[0] // 6]:
        first = Recorder(3)
        put(RegriddedSink(first, grid(shape), "none"), values, sizes, stop=cut)
        second = Recorder(3, rows=first.rows_done, carry=first.carry)
        again = RegriddedSink(second, grid(shape), "none")
        assert again.rows_done == cut
        assert again.carry == {(3, 7): cut}  # what the engine left is the engine's
        second.array[:, : first.rows_done] = first.array[:, : first.rows_done]
        put(again, values, sizes, start=cut)
        assert np.array_equal(second.array, whole.array)


def test_only_the_last_samples_of_a_row_are_carried():
    sink = Recorder(3)
    put(RegriddedSink(sink, grid((24, 10, 9)), "none"), made((24, 10, 9)), (8, 5, 9))
    assert {array.shape for place, array in sink.carry.items() if min(place) < 0} == {(3, 1, 5, 9), ()}
