import gzip

import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data import volume_checks
from foveal.data.datasets.volume_case import VolumeCase
from foveal.data.volume_checks import check_volume

from ..fixtures import nifti
from ..fixtures.volumes import affine_of, arrays, save


def case(folder, values=None, labels=None, affine=None, label_affine=None):
    first, second = arrays(0)
    image = save(first if values is None else values, folder / "image.nii.gz", affine)
    label = save(second if labels is None else labels, folder / "label.nii.gz", label_affine)
    return VolumeCase("a", (image,), label, "a")


def with_label(value):
    labels = arrays(0)[1]
    labels[5, 5, 5] = value
    return labels


def test_facts_are_those_of_the_files(tmp_path):
    values, labels = arrays(0)
    facts = check_volume(case(tmp_path), 1, 3)
    assert (facts.shape, facts.spacing, facts.orientation) == ((10, 14, 16), (1.5, 1, 1), "SAR")
    assert facts.counts == tuple(np.bincount(labels.ravel()))
    assert sorted(facts.samples[0]) == sorted(values[labels > 0])


def test_samples_of_large_objects_are_spread_evenly_over_them(tmp_path, monkeypatch):
    values, labels = arrays(0)
    monkeypatch.setattr(volume_checks, "SAMPLES", 20)
    monkeypatch.setattr(volume_checks, "SLAB", 3 * 14 * 16)  # slices of an object lie in different slabs
    samples = check_volume(case(tmp_path), 1, 3).samples[0]
    total = int((labels > 0).sum())
    step = -(-total // 20)
    assert np.array_equal(samples, values.T[labels.T > 0][::step])


def test_the_box_of_what_is_other_than_zero_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(volume_checks, "SLAB", 1)
    values = np.zeros((16, 14, 10), np.float32)
    values[2, 3, 4], values[9, 9, 8] = 1, -1
    assert check_volume(case(tmp_path, values), 1, 3).filled == pytest.approx(8 * 7 * 5 / (16 * 14 * 10))


def test_merged_labels_count_as_what_they_become(tmp_path):
    labels = arrays(0)[1]
    facts = check_volume(case(tmp_path), 1, 2, {2: 1})
    assert facts.counts == ((labels == 0).sum(), (labels > 0).sum())


def of_values(value):
    values = arrays(0)[0]
    values[3, 4, 5] = value
    return values


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": with_label(3)}, r"label.nii.gz: holds the label 3; the network's classes are 0..2"),
        ({"labels": with_label(1).astype(np.float32) + 0.5}, "holds values such as 1.5"),
        ({"labels": with_label(1).astype(np.int16) - 1}, "holds values such as -1"),
        ({"labels": np.where(with_label(1) == 1, np.nan, 0)}, r"label.nii.gz: \d+ voxels are no finite numbers"),
        ({"label_affine": affine_of((1, 1, 2))}, "label.nii.gz: lies on another grid than image.nii.gz"),
        ({"labels": arrays(0, (16, 14, 9))[1]}, "lies on another grid than image.nii.gz .10 x 14 x 16 voxels against"),
        ({"labels": np.zeros((16, 14, 10, 2), np.uint8)}, r"holds 2 volumes \(4D\); labels are one"),
        ({"values": np.zeros((16, 14, 10, 3), np.float32)}, r"holds 3 volumes \(4D\), the network takes one"),
        ({"values": np.full((16, 14, 10), 7, np.float32)}, "image.nii.gz: all voxels have the value 7"),
        ({"values": of_values(np.nan)}, "image.nii.gz: 1 voxels are no finite numbers"),
        ({"values": of_values(np.inf)}, "image.nii.gz: 1 voxels are no finite numbers"),
        ({"values": np.zeros((16, 14), np.float32)}, "is a single slice"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, changes, told):
    with pytest.raises(UserError, match=told):
        check_volume(case(tmp_path, **changes), 1, 3)


def test_too_few_channels_are_told(tmp_path):
    with pytest.raises(UserError, match="the case a has 1 channel, the network takes 2"):
        check_volume(case(tmp_path), 2, 3)


def test_voxels_without_extent_are_told(tmp_path):
    found = case(tmp_path)
    values = arrays(0)[0]
    made = nifti.header(values, affine_of(), sform_code=0)
    made["pixdim"][3] = 0
    nifti.write(found.images[0], values, made)
    with pytest.raises(UserError, match=r"image.nii.gz: the header says that voxels are 0 mm apart"):
        check_volume(found, 1, 3)


def test_damaged_files_are_told(tmp_path):
    found = case(tmp_path)
    data = gzip.decompress(found.images[0].read_bytes())
    packed = bytearray(gzip.compress(data))
    packed[len(packed) // 2] ^= 255
    found.images[0].write_bytes(packed)
    with pytest.raises(UserError, match=r"image.nii.gz: the file is damaged"):
        check_volume(found, 1, 3)
    found.images[0].write_bytes(packed[:200])
    with pytest.raises(UserError, match=r"image.nii.gz: the file was cut short"):
        check_volume(found, 1, 3)
