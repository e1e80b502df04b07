import h5py
import numpy as np
import pytest
import torch

from foveal.core.errors import UserError
from foveal.data.io.features import groups, read_features
from foveal.tests.fixtures.bags import coords, features, write_groups, write_h5, write_pt


def test_every_layout_gives_the_same(tmp_path):
    values = features(0)
    write_groups(tmp_path / "all.h5", ["s0", "s1"])
    for found in (
        read_features(write_h5(tmp_path / "a.h5", values)),
        read_features(write_pt(tmp_path / "a.pt", values, bare=False)),
        read_features(tmp_path / "all.h5", "s0"),
    ):
        assert found.values.dtype == np.float16
        assert np.array_equal(found.values, values)
        assert np.array_equal(found.coords, coords(6))
    bare = read_features(write_pt(tmp_path / "b.pt", values))
    assert np.array_equal(bare.values, values)
    assert bare.coords is None


def test_a_first_axis_of_one_is_dropped(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"], file["coords"] = features(0)[None], coords(6)[None]
    found = read_features(tmp_path / "a.h5")
    assert found.values.shape == (6, 8)
    assert found.coords.shape == (6, 2)


def test_bfloat16_is_read(tmp_path):
    torch.save(torch.ones(3, 4, dtype=torch.bfloat16), tmp_path / "a.pt")
    assert read_features(tmp_path / "a.pt").values.tolist() == [[1.0] * 4] * 3


def test_plain_attributes_are_the_facts(tmp_path):
    path = write_h5(tmp_path / "a.h5", features(0), encoder="uni", mpp=0.5, shape=[1, 2])
    with h5py.File(path, "a") as file:
        file["coords"].attrs["patch_size"] = np.int64(256)
    assert read_features(path).facts == {"encoder": "uni", "mpp": 0.5, "patch_size": 256}
    assert groups(write_groups(tmp_path / "all.h5", ["b", "a"])) == {"a": {"label": 1}, "b": {"label": 0}}


def bare_h5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, each in arrays.items():
            file[name] = each
    return path


BAD = {
    "no such file": lambda path: path / "absent.h5",
    "no such file.": lambda path: path / "absent.pt",
    "no features": lambda path: bare_h5(path / "a.h5", coords=coords(3)),
    "a row for each tile, found float64 of shape": lambda path: bare_h5(path / "a.h5", features=np.zeros((0, 3))),
    r"found float64 of shape \[4\]": lambda path: bare_h5(path / "a.h5", features=np.zeros(4)),
    "there are 2 features, but coords of shape": lambda path: bare_h5(
        path / "a.h5", features=np.zeros((2, 3)), coords=coords(3)
    ),
    "is no HDF5 file, or is damaged": lambda path: text(path / "a.h5"),
    "cannot be read as tensors alone": lambda path: text(path / "a.pt"),
    "holds no tensor": lambda path: saved(path / "a.pt", {"rows": 3}),
}


def text(path):
    path.write_text("no features here")
    return path


def saved(path, content):
    torch.save(content, path)
    return path


@pytest.mark.parametrize("message", BAD)
def test_bad_files_are_refused(tmp_path, message):
    with pytest.raises(UserError, match=message):
        read_features(BAD[message](tmp_path))


def test_a_file_cut_short_is_refused(tmp_path):
    path = write_h5(tmp_path / "a.h5", np.ones((500, 100), np.float32))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"a\.h5: is (no HDF5 file, or is )?damaged"):
        read_features(path)


def test_a_file_that_wants_code_to_be_run_is_refused(tmp_path):
    torch.save(print, tmp_path / "a.pt")
    with pytest.raises(UserError, match="as tensors alone"):
        read_features(tmp_path / "a.pt")


def test_groups_that_are_not_there_are_refused(tmp_path):
    path = write_groups(tmp_path / "all.h5", ["a"])
    with pytest.raises(UserError, match="has no group b"):
        read_features(path, "b")
    with pytest.raises(UserError, match="has no group for each slide"):
        groups(write_h5(tmp_path / "a.h5", features(0)))
