from datetime import datetime

import pytest

from foveal.apps.cloudremoval.selection import check_share, choose_dates, clearest
from foveal.core.errors import UserError

MONTHS = tuple(datetime(2018, month, 1) for month in (1, 2, 6, 7, 12))


def test_the_clearest_dates_are_taken_in_order_of_time():
    assert choose_dates([0.5, 0.1, 0.9, 0.0, 0.3], 3, 0.95, MONTHS) == [1, 3, 4]
    assert choose_dates([0.5, 0.1, 0.9, 0.0, 0.3], 5, 0.95, MONTHS) == [0, 1, 2, 3, 4]


def test_of_equal_dates_those_nearest_to_the_clearest_are_taken():
    cover = [0.004, 0.003, 0.001, 0.004, 0.002]  # all are 0 in whole per cent
    assert choose_dates(cover, 2, 0.95, MONTHS) == [2, 3]
    assert choose_dates(cover, 3, 0.95, MONTHS) == [1, 2, 3]
    assert choose_dates(cover, 3, 0.95) == [1, 2, 3]


def test_a_clearer_date_counts_more_than_a_near_one():
    assert choose_dates([0.02, 0.5, 0.0, 0.5, 0.5], 2, 0.95, MONTHS) == [0, 2]


def test_too_few_dates_are_refused():
    with pytest.raises(UserError, match="2 dates, too few: 3 are taken"):
        choose_dates([0.0, 0.1], 3, 0.95)
    with pytest.raises(UserError, match="1 date, too few: 3 are taken"):
        choose_dates([0.0], 3, 0.95)


def test_dates_that_are_all_cloudy_are_refused_and_told():
    cover = [0.96, 0.97, 1, 0.999, 0.96]
    with pytest.raises(UserError, match=r"2018-01-01 96%, 2018-02-01 97%.*--most_cloud"):
        choose_dates(cover, 3, 0.95, MONTHS)
    with pytest.raises(UserError, match="number 1 96%"):
        choose_dates(cover, 3, 0.95)
    assert choose_dates(cover, 3, 0.96, MONTHS) == [0, 1, 4]


def test_the_clearest_is_the_first_of_equals():
    assert clearest([0.5, 0.1, 0.1]) == 1


def test_a_share_is_no_per_cent():
    for share in (0, 0.95, 1):
        check_share(share)
    for wrong in (95, -0.1):
        with pytest.raises(UserError, match=f"--most_cloud {wrong}: give a share from 0 to 1"):
            check_share(wrong)
