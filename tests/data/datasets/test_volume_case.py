from collections import Counter

import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.volume_case import VolumeCase, in_fold


def test_folds_hold_each_patient_once():
    cases = [VolumeCase(f"p{n}_{k}", (), None, f"p{n}") for n in range(11) for k in range(2)]
    inside = [in_fold(cases, fold, 5, seed=0)[1] for fold in range(5)]
    counts = Counter(case.group for fold in inside for case in fold)
    assert set(counts.values()) == {2}
    assert len(counts) == 11
    assert sorted(len(fold) for fold in inside) == [4, 4, 4, 4, 6]
    for fold in range(5):
        outside, scored = in_fold(cases, fold, 5, seed=0)
        assert not {each.group for each in outside} & {each.group for each in scored}
        assert len(outside) + len(scored) == 22
    assert in_fold(cases[::-1], 0, 5, seed=0)[1][::-1] == inside[0]
    assert in_fold(cases, 0, 5, seed=1)[1] != inside[0]


def test_fewer_patients_than_folds_are_told():
    cases = [VolumeCase(f"scan{n}", (), None, "p") for n in range(6)]
    with pytest.raises(UserError, match=r"1 patients cannot be split into data.folds 2"):
        in_fold(cases, 0, 2, seed=0)
