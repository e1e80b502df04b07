import numpy as np
import pytest
import torch

from foveal.core.errors import UserError
from foveal.core.inference.engine import Engine
from foveal.data.geometry import VolumeGeometry
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
            program = identity(size_multiple=multiple, dimensions=len(shape))
            y = engine(program, tile=tile, overlap=overlap).array(x)
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


@pytest.mark.parametrize("shape", [(5, 3), (40, 13), (16, 24)])
def test_a_program_of_a_fixed_tile_gets_no_other(shape):
    program = identity(tile=(16, 24), overlap=4, size_multiple=8, fixed_tile=True)
    x = noise(3, *shape)
    assert np.abs(engine(program).array(x) - x).max() <= 1e-6
    assert np.abs(engine(program, tta=True).array(x) - x).max() <= 1e-6
    assert set(program.extents) == {(16, 24)}


@pytest.mark.parametrize("tile", [16, 32, "whole", None])
def test_another_tile_than_the_fixed_one_is_refused(tile):
    with pytest.raises(UserError, match=r"runs tiles of exactly 16 x 24; leave --tile out"):
        engine(identity(tile=(16, 24), fixed_tile=True), tile=tile, overlap=0)


@pytest.mark.parametrize("tile", ["auto", "whole"])
def test_a_program_gets_nothing_below_its_smallest_size(tile):
    program = identity(smallest_size=9, size_multiple=2)
    assert np.array_equal(engine(program, tile=tile).array(noise(3, 5, 12)), noise(3, 5, 12))
    assert set(program.extents) == {(10, 12)}
    with pytest.raises(UserError, match="needs tiles of at least 9"):
        engine(program, tile=8, overlap=0)


def test_what_is_resized_to_a_frame_may_be_smaller():
    program = identity(smallest_size=9, frame=(12, 12))
    engine(program).array(noise(3, 5, 7))
    assert set(program.extents) == {(12, 12)}


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
    """A sink that goes on from what an earlier one has finished."""

    geometry = None

    def __init__(self, shape, before=None):
        self.array = np.full(shape, np.nan, np.float32) if before is None else before.array
        self.rows_done, self.carry = (before.rows_done, before.carry) if before else (0, {})
        self.committed = False
        self.rows = []

    def aside(self, window):
        return window

    def write(self, window, values, aside):
        assert aside == window
        self.rows.append(window[0].start)
        self.array[:, *window] = 0 if values is None else values

    def finish(self, rows, carry):
        self.rows_done, self.carry = rows, {place: array.copy() for place, array in carry.items()}

    def commit(self):
        self.committed = True


class Field:
    """A source that notes what is read; `empty` tells which samples count for nothing."""

    geometry = None

    def __init__(self, array, empty=None):
        self.array, self.shape, self.spatial, self.tops = array, array.shape, array.ndim - 1, []
        self.empty = np.zeros(array.shape[1:], bool) if empty is None else empty

    def read(self, window):
        self.tops.append(window[0].start)
        return self.array[..., *window]

    def is_empty(self, window):
        return bool(self.empty[window].all())


class KilledError(Exception):
    pass


@pytest.mark.parametrize("blend", ["linear", "gaussian", "constant"])
@pytest.mark.parametrize("tiles_done", range(0, 24, 4))
def test_a_killed_run_goes_on_without_computing_finished_rows_again(blend, tiles_done):
    x = noise(3, 50, 20)
    whole = Recorder((3, 100, 40))
    engine(nearest(2), tile=12, overlap=5, blend=blend).run(Field(x), whole)

    count = iter(range(1000))

    def killed_after(y):
        if next(count) >= tiles_done:
            raise KilledError
        return y.repeat_interleave(2, -1).repeat_interleave(2, -2)

    cut, source = Recorder((3, 100, 40)), Field(x)
    with pytest.raises(KilledError):
        engine(ToyProgram(killed_after, scale=2), tile=12, overlap=5, blend=blend).run(source, cut)
    done = cut.rows_done
    again, program = Recorder((3, 100, 40), cut), nearest(2)
    engine(program, tile=12, overlap=5, blend=blend).run(Field(x), again)
    assert again.committed
    assert np.array_equal(again.array, whole.array)
    assert all(row >= done for row in again.rows)
    assert len(program.extents) == 3 * sum(
        each.final > done for each in engine(nearest(2), tile=12, overlap=5, blend=blend).plan((50, 20))[0]
    )


def test_rows_are_written_as_soon_as_they_are_final():
    told, finished = [], []
    source, sink = Field(noise(3, 100, 30)), Recorder((3, 100, 30))
    finish = sink.finish
    sink.finish = lambda rows, carry: (finished.append(rows), finish(rows, carry))
    engine(identity(), tile=10, overlap=2).run(source, sink, lambda *tiles: told.append(tiles))
    assert told == [(number, 52) for number in range(1, 53)]
    assert len(finished) == 13
    assert finished == sorted(set(finished))
    assert finished[-1] == 100


@pytest.mark.parametrize("blend", ["linear", "gaussian", "constant"])
@pytest.mark.parametrize("shape", [(31, 47), (19, 21, 17)])
def test_every_blend_returns_the_input_of_an_identity(blend, shape):
    x = noise(2, *shape)
    program = identity(channels=("a", "b"), dimensions=len(shape))
    for tile, overlap in [(8, 4), (8, 3), (9, 1), (7, 0)]:
        assert np.abs(engine(program, tile=tile, overlap=overlap, blend=blend).array(x) - x).max() <= 1e-6


def test_tiles_may_have_another_size_along_each_axis():
    program = identity(dimensions=3, tile=(4, 8, 16), overlap=(0, 2, 4), size_multiple=(1, 2, 4))
    x = noise(3, 9, 21, 35)
    assert np.abs(engine(program).array(x) - x).max() <= 1e-6
    assert set(program.extents) == {(4, 8, 16)}


def test_a_program_of_two_dimensions_takes_a_volume_slice_by_slice():
    program = blur(1, tile=8, overlap=2)
    x = noise(3, 4, 13, 11)
    y = engine(program).array(x)
    assert np.array_equal(y, np.stack([engine(blur(1, tile=8, overlap=2)).array(x[:, k]) for k in range(4)], axis=1))
    assert all(len(extent) == 2 for extent in program.extents)


def test_dates_go_to_the_program_together():
    source = Field(noise(2, 12, 9)[None].repeat(3, 0), np.zeros((12, 9), bool))
    source.spatial = 2
    sink = Recorder((2, 12, 9))
    program = ToyProgram(lambda x: x.unflatten(1, (3, 2)).mean(dim=1), channels=("a", "b"), dates=3)
    engine(program, tile=8, overlap=2).run(source, sink)
    assert np.abs(sink.array - source.array[0]).max() <= 1e-6


@pytest.mark.parametrize(("dates", "found"), [((), "one image"), ((2,), "a series of 2"), ((1,), "a series of 1")])
def test_another_number_of_dates_is_refused(dates, found):
    source = Field(np.zeros((*dates, 2, 12, 9), np.float32), np.zeros((12, 9), bool))
    source.spatial = 2
    program = ToyProgram(lambda x: x, channels=("a", "b"), dates=3)
    with pytest.raises(UserError, match=rf"the input is {found}, toy takes 3 dates at once"):
        engine(program).run(source, Recorder((2, 12, 9)))


def test_a_series_of_one_date_is_an_image():
    source = Field(noise(1, 2, 12, 9), np.zeros((12, 9), bool))
    source.spatial = 2
    sink = Recorder((2, 12, 9))
    engine(identity(channels=("a", "b")), tile=8, overlap=2).run(source, sink)
    assert np.abs(sink.array - source.array[0]).max() <= 1e-6


@pytest.mark.parametrize("batch", [2, 3, 100])
def test_tiles_computed_together_give_the_same(batch):
    net = torch.nn.Conv2d(3, 3, 3, padding=1)
    net.card = identity().card
    x = noise(3, 40, 33)
    one = Engine(net, net.card, tile=12, overlap=4).array(x)
    assert np.abs(Engine(net, net.card, tile=12, overlap=4, batch=batch).array(x) - one).max() <= 1e-6


def test_empty_tiles_are_not_computed_and_leave_no_holes():
    x = noise(3, 60, 60)
    empty = np.ones((60, 60), bool)
    empty[7:25, 11:40] = False
    empty[50, 3] = False
    program, sink = blur(1, tile=12, overlap=4), Recorder((3, 60, 60))
    engine(program).run(Field(x, empty), sink)
    whole = engine(blur(1, tile=12, overlap=4)).array(x)
    assert np.array_equal(sink.array[:, ~empty], whole[:, ~empty])
    assert len(program.extents) < 30 < len(engine(program).plan((60, 60))[0]) ** 2


def test_nothing_but_empty_tiles_gives_none():
    sink = Recorder((3, 30, 30))
    engine(ToyProgram(lambda x: 1 / 0)).run(Field(noise(3, 30, 30), np.ones((30, 30), bool)), sink)
    assert sink.committed
    assert not sink.array.any()


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "threshold", "argmax"])
def test_outputs_are_blended_before_they_become_probabilities_or_labels(activation):
    x = noise(3, 30, 26) - 0.5
    values = torch.from_numpy(engine(blur(1, tile=12, overlap=4)).array(x))
    expected = {
        "sigmoid": values.sigmoid(),
        "softmax": values.softmax(0),
        "threshold": (values > 0).byte(),
        "argmax": values.argmax(0, keepdim=True).byte(),
    }[activation].numpy()
    y = engine(blur(1, tile=12, overlap=4, activation=activation)).array(x)
    assert y.dtype == expected.dtype
    assert np.allclose(y, expected, rtol=0, atol=1e-6)


def test_an_output_elsewhere_than_the_input_is_refused():
    source, sink = Field(noise(3, 8, 8)), Recorder((3, 8, 8))
    source.geometry = VolumeGeometry((1, 8, 8), np.eye(4))
    sink.geometry = VolumeGeometry((1, 8, 8), np.diag([-1.0, 1, 1, 1]))
    with pytest.raises(UserError, match="would not lie where the input does: corners 14 mm apart"):
        engine(identity()).run(source, sink)
    assert not sink.committed


@pytest.mark.parametrize(("method", "owner"), [("read", Field), ("write", Recorder), ("finish", Recorder)])
def test_what_fails_in_a_thread_ends_the_run(monkeypatch, method, owner):
    def fail(*_):
        raise OSError("out of order")

    monkeypatch.setattr(owner, method, fail)
    sink = Recorder((3, 40, 40))
    with pytest.raises(OSError, match="out of order"):
        engine(identity(), tile=8, overlap=2).run(Field(noise(3, 40, 40)), sink)
    assert not sink.committed


def test_a_volume_agrees_with_monai():
    from monai.inferers import sliding_window_inference

    net = torch.nn.Conv3d(1, 2, 5, padding=2).eval()
    x = torch.from_numpy(noise(1, 24, 32, 40))
    with torch.no_grad():
        theirs = sliding_window_inference(x[None], 16, 1, net, overlap=0.5)[0]
    program = ToyProgram(net, dimensions=3, channels=("mr",))
    ours = engine(program, tile=16, overlap=8, blend="constant").array(x.numpy())
    assert np.abs(ours - theirs.numpy()).max() <= 1e-6
