import pytest

from foveal.core.errors import UserError
from foveal.data.datasets.scene_series import chosen_places

PLACES = [f"p{number}" for number in range(10)]
SHARES = (0.6, 0.2, 0.2)


def test_parts_share_no_place_and_follow_from_the_seed():
    parts = [chosen_places(PLACES * 3, None, part, SHARES, 0, "data") for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [6, 2, 2]
    assert set.union(*parts) == {*PLACES}
    assert chosen_places(PLACES, None, "train", SHARES, 1, "data") != parts[0]


def test_a_part_is_of_the_wanted_places():
    assert chosen_places(PLACES, ["p1", "p2"], "train", (0.5, 0.5, 0), 0, "data") < {"p1", "p2"}
    assert chosen_places(PLACES, ["p1", "p2"], None, SHARES, 0, "data") == {"p1", "p2"}


def test_an_empty_part_is_told():
    with pytest.raises(UserError, match="data: the part test of 1 places is empty"):
        chosen_places(["p1"], None, "test", SHARES, 0, "data")
