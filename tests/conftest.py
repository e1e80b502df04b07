"""Slow tests come last, and are left out from the time on that `FOVEAL_SLOW_TESTS_UNTIL` gives, in seconds of 1970."""

import os
import time
from pathlib import Path

import pytest

UNTIL = float(os.environ.get("FOVEAL_SLOW_TESTS_UNTIL", "inf"))
FIRST = ("docs", "configs")
"""What users run as it is, of slow tests."""


def is_slow(item):
    return item.get_closest_marker("slow") is not None


def pytest_collection_modifyitems(items):
    folder = Path(__file__).parent
    items.sort(key=lambda item: (is_slow(item), is_slow(item) and item.path.relative_to(folder).parts[0] not in FIRST))


def pytest_runtest_setup(item):
    if is_slow(item) and time.time() > UNTIL:
        pytest.skip("no time is left for slow tests")
