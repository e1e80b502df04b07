import json

import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.decathlon import Decathlon
from foveal.data.datasets.nnunet_folder import NnUNetFolder

from ...fixtures.volumes import write_described

NNUNET = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "core": 2, "rim": 1},
    "numTraining": 3,
    "file_ending": ".nii.gz",
    "licence": "CC0-1.0",
}
DECATHLON = {
    "modality": {"0": "CT"},
    "labels": {"0": "background", "1": "liver", "2": "tumour"},
    "training": [
        {"image": f"./imagesTr/scan_{n}_0000.nii.gz", "label": f"./labelsTr/scan_{n}.nii.gz"} for n in range(3)
    ],
}


def nnunet(folder, count=3, channels=2, **changes):
    return NnUNetFolder(write_described(folder, NNUNET | changes, count, channels))


def decathlon(folder, count=3, **changes):
    return Decathlon(write_described(folder, DECATHLON | changes, count))


def test_nnunet_tells_classes_by_value_channels_and_modality(tmp_path):
    source = nnunet(tmp_path)
    assert source.classes == ("rim", "core")
    assert source.channels == ("T1", "T2")
    assert source.modality == "MR"
    assert source.licence == "CC0-1.0"


def test_nnunet_lists_a_file_for_each_channel(tmp_path):
    cases = nnunet(tmp_path).cases()
    assert [each.name for each in cases] == ["scan_0", "scan_1", "scan_2"]
    assert [path.name for path in cases[1].images] == ["scan_1_0000.nii.gz", "scan_1_0001.nii.gz"]
    assert cases[1].label == tmp_path / "labelsTr" / "scan_1.nii.gz"
    assert cases[1].group == "scan_1"


def test_nnunet_takes_the_files_that_it_lists(tmp_path):
    listed = {"a": {"images": ["imagesTr/scan_0_0000.nii.gz"], "label": "labelsTr/scan_1.nii.gz"}}
    (case,) = nnunet(tmp_path, dataset=listed, numTraining=1).cases()
    assert (case.name, case.images, case.label.name) == (
        "a",
        (tmp_path / "imagesTr" / "scan_0_0000.nii.gz",),
        "scan_1.nii.gz",
    )


def test_test_cases_with_labels_are_another_folder(tmp_path):
    nnunet(tmp_path, numTraining=3)
    for kind in ("images", "labels"):
        (tmp_path / f"{kind}Tr").rename(tmp_path / f"{kind}Ts")
    assert len(NnUNetFolder(tmp_path, files="Ts").cases()) == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": {"background": 0, "whole": [1, 2]}}, "'whole' is a region"),
        ({"labels": {"background": 0, "a": 1, "ignore": 2}}, "label to ignore"),
        ({"labels": {"background": 0, "a": 2}}, "without gaps, found 0, 2"),
        ({"labels": {}}, "has no labels"),
        ({"channel_names": None}, "has no channel_names"),
        ({"channel_names": {"1": "T1"}}, "numbered from 0"),
        ({"channel_names": {"0": "T1"}}, "scan_0 has the channels 0, 1; expected 0"),
        ({"numTraining": 4}, "tells of 4 training cases, but 3 are there"),
        ({"file_ending": ".mha"}, "the files end in .mha"),
    ],
)
def test_what_nnunet_asks_for_in_vain_is_told(tmp_path, changes, told):
    with pytest.raises(UserError, match=told):
        nnunet(tmp_path, **changes).cases()


def test_decathlon_lists_what_its_file_lists(tmp_path):
    source = decathlon(tmp_path)
    assert source.classes == ("liver", "tumour")
    assert (source.channels, source.modality) == (("CT",), "CT")
    assert [each.images[0].name for each in source.cases()] == [f"scan_{n}_0000.nii.gz" for n in range(3)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"training": []}, 'no list "training"'),
        ({"training": ["a"]}, 'no list "training"'),
        ({"training": [{"image": "x.nii.gz", "label": "y.nii.gz"}]}, "2 of 2 files that dataset.json lists"),
        ({"labels": {"0": "background", "5": "liver"}}, "without gaps, found 0, 5"),
    ],
)
def test_what_is_wrong_with_a_list_is_told(tmp_path, changes, told):
    with pytest.raises(UserError, match=told):
        decathlon(tmp_path, **changes).cases()


def test_a_missing_or_damaged_description_is_told(tmp_path):
    with pytest.raises(UserError, match=r"dataset.json: there is no such file"):
        Decathlon(tmp_path).cases()
    for text, told in (("{", "no valid JSON"), ("[]", "must hold an object")):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(UserError, match=told):
            Decathlon(tmp_path).cases()


@pytest.mark.parametrize(
    ("names", "modality"), [(["CT"], "CT"), (["ct", "CT"], "CT"), (["CT", "PET"], None), (["noNorm"], None)]
)
def test_the_modality_follows_from_the_names_of_channels(tmp_path, names, modality):
    assert decathlon(tmp_path, modality={str(n): name for n, name in enumerate(names)}).modality == modality


def test_parts_never_share_a_patient(tmp_path):
    write_described(tmp_path, DECATHLON)
    listed = [DECATHLON["training"][n % 3] | {"image": f"./imagesTr/scan_{n % 3}_0000.nii.gz"} for n in range(3)]
    (tmp_path / "dataset.json").write_text(json.dumps(DECATHLON | {"training": listed}))
    options = {"group": r"scan_(\d)", "shares": (0.34, 0.33, 0.33)}
    parts = [Decathlon(tmp_path, part=part, **options).cases() for part in ("train", "validation", "test")]
    assert sorted(case.group for cases in parts for case in cases) == ["0", "1", "2"]
