import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.acdc import ACDC
from foveal.data.datasets.synapse import PARTS, Synapse


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_synapse_has_the_published_split(tmp_path):
    for number in (*PARTS["train"], *PARTS["test"]):
        touch(tmp_path / "imagesTr" / f"img{number:04}{'_0000' if number % 2 else ''}.nii.gz")
        touch(tmp_path / "labelsTr" / f"img{number:04}.nii.gz")
    train, test = (Synapse(tmp_path, part).cases() for part in ("train", "test"))
    assert (len(train), len(test)) == (18, 12)
    assert test[0].name == "img0001"
    assert not {each.group for each in train} & {each.group for each in test}
    assert len(Synapse.classes) == 13


def test_missing_volumes_of_synapse_are_counted(tmp_path):
    with pytest.raises(UserError, match=r"img0001_0000.nii.gz: there is no such file; 24 of 24 files"):
        Synapse(tmp_path, "test").cases()


@pytest.mark.parametrize("layout", ["published", "nnunet"])
def test_acdc_splits_by_patient(tmp_path, layout):
    for number in range(1, 11):
        for frame in (1, 12):
            name = f"patient{number:03}_frame{frame:02}"
            if layout == "published":
                touch(tmp_path / "training" / name[:10] / f"{name}.nii.gz")
                touch(tmp_path / "training" / name[:10] / f"{name}_gt.nii.gz")
                touch(tmp_path / "training" / name[:10] / f"{name[:10]}_4d.nii.gz")
            else:
                touch(tmp_path / "imagesTr" / f"{name}_0000.nii.gz")
                touch(tmp_path / "labelsTr" / f"{name}.nii.gz")
    parts = {part: ACDC(tmp_path, part).cases() for part in ("train", "validation", "test")}
    assert {part: len(cases) for part, cases in parts.items()} == {"train": 14, "validation": 2, "test": 4}
    patients = [each.group for cases in parts.values() for each in cases]
    assert len(set(patients)) == 10
    assert all(patients.count(each) == 2 for each in patients)
    assert len({each.group for each in parts["validation"]}) == 1
    assert all(each.label.is_file() for each in ACDC(tmp_path).cases())
    ACDC(tmp_path).cases()[3].label.unlink()
    with pytest.raises(UserError, match=r"patient002_frame12.*there is no such file; 1 of 20 frames' labels"):
        ACDC(tmp_path).cases()


def test_a_folder_without_frames_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no patient001_frame01"):
        ACDC(tmp_path).cases()
