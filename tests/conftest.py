"""Slow tests come last, and are left out from the time on that `FOVEAL_SLOW_TESTS_UNTIL` gives, in seconds of 1970."""

import os
import time

import pytest

UNTIL = float(os.environ.get("FOVEAL_SLOW_TESTS_UNTIL", "inf"))


def is_slow(item):
    return item.get_closest_marker("slow") is not None


def pytest_collection_modifyitems(items):
    items.sort(key=is_slow)


def pytest_runtest_setup(item):
    if is_slow(item) and time.time() > UNTIL:
        pytest.skip("no time is left for slow tests")
