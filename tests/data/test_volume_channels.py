import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.volume_channels import ChannelFiles, open_labels, open_volume

from ..fixtures.volumes import affine_of, arrays, save

WHOLE = (slice(0, 10), slice(0, 14), slice(0, 16))


def channels(folder, count=2, affine=None):
    values = [arrays(number)[0] for number in range(count)]
    paths = [save(each, folder / f"a_000{n}.nii.gz", affine if n else None) for n, each in enumerate(values)]
    return values, paths


def test_files_are_the_channels_of_one_volume(tmp_path):
    values, paths = channels(tmp_path)
    with open_volume(paths) as source:
        assert isinstance(source, ChannelFiles)
        assert (source.shape, source.spatial, source.dtype) == ((2, 10, 14, 16), 3, np.float32)
        assert np.array_equal(source.read(WHOLE), np.stack([each.T for each in values]))
        part = source.read((slice(2, 5), slice(1, 2), slice(3, 7)))
        assert np.array_equal(part, np.stack([each.T[2:5, 1:2, 3:7] for each in values]))
        assert source.geometry.spacing_mm == (1.5, 1, 1)
        assert source.has_spacing


def test_one_file_may_hold_all_channels(tmp_path):
    path = save(np.stack([arrays(0)[0], arrays(1)[0]], axis=-1), tmp_path / "a.nii.gz")
    with open_volume([path]) as source:
        assert source.shape == (2, 10, 14, 16)


def test_channels_of_another_grid_are_refused(tmp_path):
    _, paths = channels(tmp_path, affine=affine_of((1, 1, 2)))
    with pytest.raises(UserError, match=r"a_0001.nii.gz: lies on another grid than a_0000.nii.gz \(corners 4.5 mm"):
        ChannelFiles(paths)


def test_headers_that_were_rounded_are_one_grid(tmp_path):
    _, paths = channels(tmp_path, affine=affine_of((1.001, 1, 1.5)))
    with ChannelFiles(paths) as source:
        assert source.geometry.spacing_mm == (1.5, 1, 1)


def test_a_channel_of_several_volumes_is_refused(tmp_path):
    paths = [save(np.zeros((4, 4, 4, 2), np.float32), tmp_path / f"a_000{n}.nii") for n in range(2)]
    with pytest.raises(UserError, match="holds 2 volumes"):
        ChannelFiles(paths)


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 1)])
def test_a_slice_is_no_volume(tmp_path, shape):
    with pytest.raises(UserError, match="is a single slice, not a volume"):
        open_volume([save(np.zeros(shape, np.float32), tmp_path / "a.nii")])


def test_label_values_are_exchanged_all_at_once(tmp_path):
    _, labels = arrays(0, classes=4)
    path = save(labels, tmp_path / "a.nii.gz")
    with open_labels(path, {1: 2, 2: 1, 3: 1}) as source:
        found = source.read(WHOLE)[0]
    assert np.array_equal(found, np.array([0, 2, 1, 1])[labels.T])
    with open_labels(path) as source:
        assert np.array_equal(source.read(WHOLE)[0], labels.T)
