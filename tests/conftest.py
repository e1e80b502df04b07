"""Slow tests come last; most are left out from the time on that `FOVEAL_SLOW_TESTS_UNTIL` gives, in seconds of 1970."""

import os
import time
from pathlib import Path

import pytest

UNTIL = float(os.environ.get("FOVEAL_SLOW_TESTS_UNTIL", "inf"))
NEVER_LEFT_OUT = ("docs", "core/report", "configs")
"""What users run and look at as it is: the first of the slow tests, in this order, and run however late it is."""


def rank(item):
    """Return where a test stands: quick ones, then slow ones of these folders, then the others."""
    if item.get_closest_marker("slow") is None:
        return -1
    folder = item.path.parent.relative_to(Path(__file__).parent).as_posix()
    return NEVER_LEFT_OUT.index(folder) if folder in NEVER_LEFT_OUT else len(NEVER_LEFT_OUT)


def pytest_collection_modifyitems(items):
    items.sort(key=rank)


def pytest_runtest_setup(item):
    if rank(item) == len(NEVER_LEFT_OUT) and time.time() > UNTIL:
        pytest.skip("no time is left for slow tests")
