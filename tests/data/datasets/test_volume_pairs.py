import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.volume_pairs import VolumePairs

from ...fixtures.volumes import arrays, save, write_pairs


def test_volumes_and_labels_of_one_name_belong_together(tmp_path):
    cases = write_pairs(tmp_path, 11).cases()
    assert [each.name for each in cases] == [f"case{n}" for n in range(11)]
    assert cases[10].images == (tmp_path / "images" / "case10.nii.gz",)
    assert cases[10].label == tmp_path / "labels" / "case10.nii.gz"


def test_a_number_that_labels_have_too_is_part_of_the_name(tmp_path):
    cases = write_pairs(tmp_path, 2, name="scan_000{}").cases()
    assert [each.name for each in cases] == ["scan_0000", "scan_0001"]


def test_a_number_that_labels_lack_is_the_channel(tmp_path):
    for number in range(2):
        values, labels = arrays(number)
        save(labels, tmp_path / "labels" / f"case{number}.nii")
        for channel in range(3):
            save(values, tmp_path / "images" / f"case{number}_000{channel}.nii")
    cases = VolumePairs(tmp_path / "images", tmp_path / "labels").cases()
    assert [len(each.images) for each in cases] == [3, 3]
    (tmp_path / "images" / "case1_0001.nii").unlink()
    with pytest.raises(UserError, match="case1 has the channels 0, 2; expected 0, 1, 2"):
        VolumePairs(tmp_path / "images", tmp_path / "labels").cases()
    (tmp_path / "labels" / "case1.nii").unlink()
    save(values, tmp_path / "images" / "case1_0001.nii")
    with pytest.raises(UserError, match="has no labels of 1 of 2 volumes, the first is case1"):
        VolumePairs(tmp_path / "images", tmp_path / "labels").cases()


def test_in_one_folder_labels_have_an_ending(tmp_path):
    values, labels = arrays(0)
    save(values, tmp_path / "a.nii.gz")
    save(labels, tmp_path / "a_seg.nii.gz")
    (case,) = VolumePairs(tmp_path, tmp_path).cases()
    assert (case.name, case.label.name) == ("a", "a_seg.nii.gz")


def test_the_patient_is_found_in_the_name(tmp_path):
    source = write_pairs(tmp_path, 4, name="p{}_visit1")
    grouped = VolumePairs(source.images, source.labels, group=r"p(\d)")
    assert [each.group for each in grouped.cases()] == ["0", "1", "2", "3"]


def test_missing_folders_are_told(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        VolumePairs(tmp_path / "images", tmp_path / "labels").cases()
