from collections import Counter
from pathlib import Path

import pytest

from foveal.data.datasets.bag import Bag
from foveal.data.datasets.patient_split import fold_of_patients


def bags(patients=23, each=2):
    return [
        Bag(f"b{p}-{i}", "rare" if p % 4 == 0 else "usual", Path("f.h5"), f"p{p}")
        for p in range(patients)
        for i in range(each)
    ]


def test_folds_hold_everyone_once_and_never_part_a_patient():
    inside = [fold_of_patients(bags(), fold, 5)[1] for fold in range(5)]
    assert sorted(bag.name for fold in inside for bag in fold) == sorted(bag.name for bag in bags())
    for fold in range(5):
        outside, within = fold_of_patients(bags(), fold, 5)
        assert not {bag.patient for bag in outside} & {bag.patient for bag in within}
        assert len(outside) + len(within) == len(bags())


def test_folds_share_every_class_evenly():
    for seed in range(3):
        counts = [Counter(bag.label for bag in fold_of_patients(bags(), fold, 5, seed)[1]) for fold in range(5)]
        assert all(each["rare"] in (2, 4) and each["usual"] in (6, 8) for each in counts)


@pytest.mark.parametrize("order", [1, -1])
def test_folds_follow_from_names_and_seed_alone(order):
    def names(seed):
        return {bag.name for bag in fold_of_patients(bags()[::order], 1, 5, seed)[1]}

    assert names(0) == {bag.name for bag in fold_of_patients(bags(), 1, 5, 0)[1]}
    assert names(0) != names(1)
