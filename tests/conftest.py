"""What users run and look at as it is comes first, most slow tests last and only until `FOVEAL_SLOW_TESTS_UNTIL`.

That is a time in seconds of 1970.
"""

import os
import time
from pathlib import Path

import pytest

UNTIL = float(os.environ.get("FOVEAL_SLOW_TESTS_UNTIL", "inf"))
NEVER_LEFT_OUT = ("docs", "core/report", "configs")
"""Folders of slow tests that are run however late it is."""


def may_be_left_out(item):
    return is_slow(item) and folder_of(item) not in NEVER_LEFT_OUT


def is_slow(item):
    return item.get_closest_marker("slow") is not None


def folder_of(item):
    return item.path.parent.relative_to(Path(__file__).parent).as_posix()


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: (may_be_left_out(item), not is_slow(item)))


def pytest_runtest_setup(item):
    if may_be_left_out(item) and time.time() > UNTIL:
        pytest.skip("no time is left for slow tests")
