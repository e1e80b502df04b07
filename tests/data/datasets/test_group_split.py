import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.group_split import groups_of

NAMES = [f"p{number}" for number in range(20)]
PARTS = ("train", "validation", "test")


def split(names=NAMES, shares=(0.7, 0.15, 0.15), seed=0):
    return [groups_of(names, part, shares, seed, "data") for part in PARTS]


def test_every_group_is_in_one_part():
    parts = split()
    assert [len(each) for each in parts] == [14, 3, 3]
    assert sorted(name for each in parts for name in each) == sorted(NAMES)


def test_the_split_follows_from_names_and_seed():
    assert split() == split([*reversed(NAMES), *NAMES])
    assert split() != split(seed=1)


def test_every_part_with_a_share_gets_one():
    assert [len(each) for each in split(NAMES[:3])] == [1, 1, 1]
    assert [len(each) for each in split(NAMES[:5], (0.98, 0.01, 0.01))] == [3, 1, 1]


def test_a_part_without_a_share_is_empty():
    assert len(groups_of(NAMES, "train", (0.9, 0.1, 0), 0, "data")) == 18
    with pytest.raises(UserError, match="data: the part test of 20 patients or volumes is empty"):
        groups_of(NAMES, "test", (0.9, 0.1, 0), 0, "data")


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(UserError, match="give three from 0 to 1, one together"):
        split(shares=shares)
