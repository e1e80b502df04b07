import gzip

import nibabel
import numpy as np
import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.volume_slices import VolumeSlices

from ...fixtures.masks import write_volume


def source(folder, **options):
    return VolumeSlices(folder / "images", folder / "labels", **options)


@pytest.mark.parametrize(("axis", "slices"), [(0, 8), (1, 9), (2, 6)])
def test_every_slice_along_the_axis_is_a_case_of_its_volume(tmp_path, axis, slices):
    for name in ("v10", "v2"):
        write_volume(tmp_path, name)
    cases = source(tmp_path, axis=axis).cases()
    assert [(case.group, case.slice) for case in cases] == [(v, n) for v in ("v2", "v10") for n in range(slices)]
    assert cases[1].name == "v2 slice 1"
    assert {case.axis for case in cases} == {axis}
    assert cases[0].mask == tmp_path / "labels/v2.nii.gz"


def test_listing_reads_headers_alone(tmp_path, monkeypatch):
    write_volume(tmp_path, "v")
    monkeypatch.setattr("foveal.data.io.nifti.files.open_samples", None)
    assert len(source(tmp_path).cases()) == 6


def test_images_and_labels_may_share_a_folder(tmp_path):
    write_volume(tmp_path, "pat0")
    (tmp_path / "labels/pat0.nii.gz").rename(tmp_path / "images/pat0-label.nii.gz")
    (tmp_path / "images/._pat0.nii.gz").write_bytes(b"\0")
    cases = VolumeSlices(tmp_path / "images", tmp_path / "images").cases()
    assert {(case.group, case.mask.name) for case in cases} == {("pat0", "pat0-label.nii.gz")}


def test_the_split_is_by_volume_or_by_patient(tmp_path):
    for patient in range(5):
        for visit in "ab":
            write_volume(tmp_path, f"p{patient}{visit}")
    parts = ("train", "validation", "test")
    by_volume = [{case.group for case in source(tmp_path, part=part).cases()} for part in parts]
    assert [len(each) for each in by_volume] == [7, 2, 1]
    assert len(set.union(*by_volume)) == 10
    shares = (0.6, 0.2, 0.2)
    by_patient = [
        {case.group for case in source(tmp_path, part=part, group=r"(p\d)", shares=shares).cases()} for part in parts
    ]
    assert [len(each) for each in by_patient] == [6, 2, 2]
    assert all({name[:-1] + visit for name in each for visit in "ab"} == each for each in by_patient)


def test_values_become_0_to_1_by_percentiles_unless_told(tmp_path):
    assert source(tmp_path).intensity == {"percentiles": [1, 99]}
    assert source(tmp_path, intensity={"window": [0, 80]}).intensity == {"window": [0, 80]}
    with pytest.raises(UserError, match="intensity"):
        source(tmp_path, intensity={"zscore": True})


def test_an_impossible_axis_is_reported(tmp_path):
    with pytest.raises(UserError, match="axis 3: a volume has the axes 0, 1 and 2"):
        source(tmp_path, axis=3)


def test_a_single_slice_is_no_volume(tmp_path):
    write_volume(tmp_path, "v")
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 9), np.uint8), np.eye(4)), tmp_path / "images/v.nii.gz")
    with pytest.raises(UserError, match=r"images/v\.nii\.gz: is a single slice, not a volume"):
        source(tmp_path).cases()


def test_a_volume_without_labels_is_reported(tmp_path):
    for name in ("v", "w"):
        write_volume(tmp_path, name)
    (tmp_path / "labels/w.nii.gz").unlink()
    with pytest.raises(UserError, match=r"1 of 2 images have no mask in .*labels, the first is w\.nii\.gz"):
        source(tmp_path).cases()


def test_a_file_that_is_no_volume_is_named(tmp_path):
    write_volume(tmp_path, "v")
    (tmp_path / "images/v.nii.gz").write_bytes(gzip.compress(b"text"))
    with pytest.raises(UserError, match=r"images/v\.nii\.gz: "):
        source(tmp_path).cases()
