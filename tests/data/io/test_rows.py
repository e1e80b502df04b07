import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.io.rows import RowFile

SHAPE = (3, 5, 4)
IMAGE = np.arange(60, dtype=np.uint16).reshape(SHAPE)


def part(path, fingerprint="work", shape=SHAPE, dtype=np.uint16):
    return RowFile(path / "x.rows", shape, dtype, fingerprint)


def test_rows_come_back_pixel_by_pixel(tmp_path):
    rows = part(tmp_path)
    rows.append(IMAGE[:, :2])
    rows.append(IMAGE[:, 2:])
    assert rows.rows_done == 5
    assert np.array_equal(rows.read(1, 4), IMAGE[:, 1:4].transpose(1, 2, 0))


def test_the_same_work_goes_on_behind_the_last_whole_row(tmp_path):
    rows = part(tmp_path)
    rows.append(IMAGE[:, :3])
    rows.close()
    with (tmp_path / "x.rows").open("ab") as file:
        file.write(b"half a row")
    rows = part(tmp_path)
    assert rows.rows_done == 3
    rows.append(IMAGE[:, 3:])
    assert np.array_equal(rows.read(0, 5), IMAGE.transpose(1, 2, 0))


@pytest.mark.parametrize(
    "other", [{"fingerprint": "other"}, {"fingerprint": ""}, {"shape": (1, 5, 4)}, {"dtype": np.uint8}]
)
def test_other_work_starts_anew(tmp_path, other):
    rows = part(tmp_path)
    rows.append(IMAGE[:, :3])
    rows.close()
    assert part(tmp_path, **other).rows_done == 0


def test_nothing_is_left_when_deleted(tmp_path):
    part(tmp_path).delete()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(UserError, match="the disk is full"):
        part(tmp_path)
    assert list(tmp_path.iterdir()) == []
