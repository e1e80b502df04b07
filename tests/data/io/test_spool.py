import errno
import os
import shutil
import subprocess
import sys
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.io.spool import Spool

SHAPES = [(3, 5, 4), (1, 6, 1), (2, 4, 3, 5), (1, 1, 1, 1)]
SHAPE = SHAPES[0]


def samples(shape=SHAPE, dtype=np.uint16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def opened(folder, fingerprint="work", shape=SHAPE, dtype=np.uint16):
    return Spool(folder / "x.tif", shape, np.dtype(dtype), fingerprint)


def filled(folder, rows=3, carry=None):
    """Leave behind what a run does that was stopped after some rows."""
    spool = opened(folder)
    spool.write((slice(0, rows), slice(0, 4)), samples()[:, :rows])
    spool.finish(rows, carry)
    spool.close()


def whole(spool):
    return spool.rows(0, spool.shape[1])


def tiles(shape, size=2):
    """Windows that cover the spatial axes of a shape."""
    axes = [[slice(start, min(start + size, length)) for start in range(0, length, size)] for length in shape[1:]]
    return list(product(*axes))


# Samples


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8", ">i2"])
def test_windows_of_any_axes_come_back(tmp_path, shape, dtype):
    values = samples(shape, dtype)
    spool = opened(tmp_path, shape=shape, dtype=dtype)
    for window in tiles(shape):
        spool.write(window, values[:, *window])
    assert np.array_equal(whole(spool), values)
    for window in tiles(shape, 3):
        assert np.array_equal(spool.read(window), values[:, *window])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_window_is_written_where_it_is_and_nowhere_else(tmp_path, shape):
    starts = [[slice(a, b) for a in range(size) for b in range(a + 1, size + 1)] for size in shape[1:]]
    spool = opened(tmp_path, shape=shape)
    for window in product(*starts):
        expected = np.zeros(shape, np.uint16)
        expected[:, *window] = samples(shape)[:, *window] + 1
        spool.write(window, expected[:, *window])
        assert np.array_equal(whole(spool), expected)
        spool.write(window, np.zeros_like(expected[:, *window]))


def test_views_of_any_strides_and_other_types_are_stored(tmp_path):
    spool = opened(tmp_path, dtype=np.float32)
    values = np.random.default_rng(0).random((4, 5, 3))
    window = (slice(0, 5), slice(0, 4))
    spool.write(window, values.transpose(2, 1, 0)[:, ::-1, ::-1])
    assert np.array_equal(whole(spool), values.transpose(2, 1, 0)[:, ::-1, ::-1].astype(np.float32))
    spool.write(window, np.broadcast_to(np.float32(7), SHAPE))
    assert (whole(spool) == 7).all()


def test_what_is_not_written_is_zero_and_takes_no_room(tmp_path):
    spool = opened(tmp_path, shape=(1, 1 << 14, 1 << 10), dtype=np.float32)
    spool.write((slice(16000, 16001), slice(0, 1)), np.ones((1, 1, 1)))
    assert spool.read((slice(16000, 16001), slice(0, 2))).tolist() == [[[1, 0]]]
    assert spool.path.stat().st_blocks * 512 < 1 << 20


def test_writes_and_reads_that_take_less_than_given_go_on(tmp_path, monkeypatch):
    pwrite, preadv = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: pwrite(file, data[:5], offset))
    monkeypatch.setattr(os, "preadv", lambda file, views, offset: preadv(file, [views[0][:3]], offset))
    spool = opened(tmp_path)
    spool.write((slice(0, 5), slice(0, 4)), samples())
    assert np.array_equal(whole(spool), samples())


def test_a_file_cut_short_by_another_program_is_told(tmp_path):
    spool = opened(tmp_path)
    os.truncate(spool.path, 10)
    with pytest.raises(OSError, match="became shorter") as error:
        whole(spool)
    assert error.value.filename == str(spool.path)


def test_rasterio_reads_the_samples(tmp_path):
    import rasterio

    spool = opened(tmp_path)
    spool.write((slice(0, 5), slice(0, 4)), samples())
    with spool.raster() as path, rasterio.open(path) as raster:
        assert np.array_equal(raster.read(), samples())
    assert [each.name for each in tmp_path.iterdir()] == [".x.tif.rows"]


# Going on


CARRY = {(0,): np.random.default_rng(0).random((3, 2, 4)).astype(np.float32), (7,): np.arange(50.0)}


def same(carry, other):
    return carry.keys() == other.keys() and all(np.array_equal(carry[place], other[place]) for place in carry)


@pytest.mark.parametrize("carry", [{}, CARRY])
def test_the_same_work_goes_on_behind_the_last_finished_row(tmp_path, carry):
    filled(tmp_path, carry=carry)
    spool = opened(tmp_path)
    assert spool.rows_done == 3
    assert np.array_equal(spool.rows(0, 3), samples()[:, :3])
    assert same(spool.carry, carry)
    spool.write((slice(3, 5), slice(0, 4)), samples()[:, 3:])
    assert np.array_equal(whole(spool), samples())


@pytest.mark.parametrize(
    "other",
    [
        {"fingerprint": "other"},
        {"fingerprint": ""},
        {"shape": (1, 5, 4)},
        {"shape": (3, 4, 5)},
        {"dtype": np.uint8},
        {"dtype": np.int16},
    ],
)
def test_other_work_starts_anew(tmp_path, other):
    filled(tmp_path)
    spool = opened(tmp_path, **other)
    assert spool.rows_done == 0
    assert not whole(spool).any()
    assert not spool.state.exists()


def test_without_a_fingerprint_nothing_is_kept_for_later(tmp_path):
    spool = opened(tmp_path, fingerprint="")
    spool.finish(3, CARRY)
    assert spool.rows_done == 3
    assert [each.name for each in tmp_path.iterdir()] == [".x.tif.rows"]


@pytest.mark.parametrize("name", [".x.tif.state.npz", ".x.tif.rows"])
def test_half_of_what_was_left_is_no_use(tmp_path, name):
    filled(tmp_path)
    (tmp_path / name).unlink()
    spool = opened(tmp_path)
    assert spool.rows_done == 0
    assert not whole(spool).any()


def test_a_spool_of_another_size_is_no_use(tmp_path):
    filled(tmp_path)
    os.truncate(tmp_path / ".x.tif.rows", 20)
    spool = opened(tmp_path)
    assert (spool.rows_done, spool.path.stat().st_size) == (0, 120)


def test_a_damaged_state_starts_anew_or_is_the_right_one(tmp_path):
    filled(tmp_path, carry=CARRY)
    rows, state = (tmp_path / ".x.tif.rows").read_bytes(), (tmp_path / ".x.tif.state.npz").read_bytes()
    cuts = [state[:length] for length in range(0, len(state), 37)]
    flips = [state[:at] + bytes([state[at] ^ 1 << at % 8]) + state[at + 1 :] for at in range(0, len(state), 7)]
    for each in [*cuts, *flips, b"not a state", state + state, rows]:
        (tmp_path / ".x.tif.rows").write_bytes(rows)
        (tmp_path / ".x.tif.state.npz").write_bytes(each)
        spool = opened(tmp_path)
        assert spool.rows_done in (0, 3)
        if spool.rows_done:
            assert same(spool.carry, CARRY)
        spool.close()


@pytest.mark.parametrize("rows", [-1, 6, 10**9, [1, 2], "three"])
def test_an_impossible_number_of_rows_starts_anew(tmp_path, rows):
    filled(tmp_path)
    with np.load(tmp_path / ".x.tif.state.npz") as state:
        kept = dict(state)
    np.savez(tmp_path / ".x.tif.state.npz", **kept | {"rows": rows})
    assert opened(tmp_path).rows_done == 0


# One run at a time


def test_two_runs_do_not_share_a_spool(tmp_path):
    first = opened(tmp_path)
    first.write((slice(0, 5), slice(0, 4)), samples())
    for fingerprint in ("work", "other", ""):
        with pytest.raises(UserError, match=r"x\.tif: another run writes this file now"):
            opened(tmp_path, fingerprint)
    assert np.array_equal(whole(first), samples())
    first.close()
    opened(tmp_path).close()


def test_a_run_that_is_killed_leaves_no_lock(tmp_path):
    code = (
        "import os, numpy, sys; from pathlib import Path; from foveal.data.io.spool import Spool;"
        "spool = Spool(Path(sys.argv[1]) / 'x.tif', (3, 5, 4), numpy.dtype('u2'), 'work');"
        "spool.write((slice(0, 3), slice(0, 4)), numpy.arange(60).reshape(3, 5, 4)[:, :3]);"
        "spool.finish(3); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    spool = opened(tmp_path)
    assert spool.rows_done == 3
    assert np.array_equal(spool.rows(0, 3), samples()[:, :3])


def test_a_run_that_waited_for_one_that_has_just_finished_is_told(tmp_path, monkeypatch):
    import fcntl

    first, flock = opened(tmp_path), fcntl.flock

    def finished_meanwhile(file, operation):
        first.delete()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", finished_meanwhile)
    with pytest.raises(UserError, match="another run has just finished this file"):
        opened(tmp_path)


# The end


@pytest.mark.parametrize("fingerprint", ["", "work"])
def test_nothing_is_left_when_deleted(tmp_path, fingerprint):
    spool = opened(tmp_path, fingerprint)
    spool.finish(2, CARRY)
    spool.delete()
    spool.delete()
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_what_another_run_has_begun_is_not_deleted(tmp_path):
    first = opened(tmp_path, "")
    first.delete()
    second = opened(tmp_path)
    second.finish(1)
    first.delete()
    assert second.path.exists()
    assert second.state.exists()


# Room


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(UserError, match="the disk is full: 0 MB are needed"):
        opened(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_finished_rows_need_no_room_again_and_are_kept_where_the_rest_has_none(tmp_path, monkeypatch):
    shape, rows = (1, 64, 4096), 60
    spool = opened(tmp_path, shape=shape, dtype=np.uint8)
    spool.write((slice(0, rows), slice(0, 4096)), np.ones((1, rows, 4096)))
    spool.finish(rows)
    spool.close()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(UserError, match="the disk is full"):
        opened(tmp_path, shape=shape, dtype=np.uint8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5 * 4096))
    assert opened(tmp_path, shape=shape, dtype=np.uint8).rows_done == rows


def run(folder, rows=2, width=3):
    """Do all the work that is missing, a few rows at a time."""
    spool = opened(folder)
    try:
        for start in range(spool.rows_done, 5, rows):
            stop = min(start + rows, 5)
            for left in range(0, 4, width):
                window = (slice(start, stop), slice(left, min(left + width, 4)))
                spool.write(window, samples()[:, *window])
            spool.finish(stop, {(0,): samples()[:, start]})
        return whole(spool)
    finally:
        spool.close()


class Failing:
    """Stands for a function of `os` that fails at its n-th call, after half of what it was to write."""

    def __init__(self, function, number):
        self.function, self.number, self.calls = function, number, 0

    def __call__(self, file, data, *rest):
        self.calls += 1
        if self.calls == self.number:
            self.function(file, data[: len(data) // 2], *rest)
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.function(file, data, *rest)


def test_a_disk_full_at_any_write_loses_nothing_that_was_finished(tmp_path, monkeypatch):
    pwrite = os.pwrite
    counting = Failing(pwrite, 0)
    monkeypatch.setattr(os, "pwrite", counting)
    run(tmp_path)
    assert counting.calls > 8
    for number in range(1, counting.calls + 1):
        folder = tmp_path / str(number)
        monkeypatch.setattr(os, "pwrite", Failing(pwrite, number))
        with pytest.raises(OSError, match="No space left"):
            run(folder)
        again = Failing(pwrite, 0)
        monkeypatch.setattr(os, "pwrite", again)
        assert np.array_equal(run(folder), samples())
        finished = (number - 1) // 4 * 4  # two rows of two windows each
        assert again.calls == counting.calls - finished


def test_a_disk_full_at_any_note_of_finished_rows_loses_nothing(tmp_path, monkeypatch):
    savez = np.savez
    for number in range(1, 4):
        folder, calls = tmp_path / str(number), []

        def fails(part, number=number, calls=calls, **arrays):
            calls.append(part)
            if len(calls) == number:
                part.write_bytes(b"half of it")
                raise OSError(errno.ENOSPC, "No space left on device")
            savez(part, **arrays)

        monkeypatch.setattr(np, "savez", fails)
        with pytest.raises(OSError, match="No space left"):
            run(folder)
        assert sorted(each.name for each in folder.iterdir())[0] == ".x.tif.rows"
        assert not list(folder.glob("*part*"))
        monkeypatch.setattr(np, "savez", savez)
        spool = opened(folder)
        assert spool.rows_done == 2 * (number - 1)
        spool.close()
        assert np.array_equal(run(folder), samples())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        opened(tmp_path)
