"""Windows that cover what is read."""

from itertools import pairwise

import pytest

from foveal.core.inference.windows import slabs, whole


def test_the_whole_is_a_window_of_all_axes():
    assert whole((3, 4)) == (slice(0, 3), slice(0, 4))


def test_slabs_cover_a_box_and_share_slices():
    box = slice(3, 10), slice(0, 4), slice(2, 5)
    assert [rows for rows, *_ in slabs(box)] == [slice(3, 10)]
    shared = list(slabs(box, shared=1))
    assert all(others == list(box[1:]) for _, *others in shared)


@pytest.mark.parametrize("shared", [0, 1])
def test_small_slabs_go_on_where_the_last_ended(shared):
    rows = [each[0] for each in slabs((slice(3, 10), slice(0, 4), slice(2, 5)), shared, most=24)]
    assert rows[0].start == 3
    assert rows[-1].stop == 10
    assert all(b.start == a.stop - shared for a, b in pairwise(rows))
    assert all(each.stop - each.start <= 2 for each in rows)
