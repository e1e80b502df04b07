import subprocess
import sys
import time
from pathlib import Path

import pytest

from foveal.core.bench.measure import in_fresh_python, machine, medians

LINUX = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone tells the peak")


def busy(seconds):
    """Use the processor for so long."""
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass


def test_medians_are_of_each_call_and_leave_out_the_warm_up():
    calls = iter([0.05, 0, 0, 0])
    slow, fast = medians([lambda: busy(0.01), lambda: busy(next(calls))])
    assert 0.009 < slow < 1
    assert fast < 0.005


@LINUX
def test_the_peak_is_what_a_call_needs_and_not_what_was_before():
    code = """
from foveal.core.bench.measure import peak_megabytes
had = len(bytearray(b"x") * 90_000_000)
print(peak_megabytes(lambda: len(bytearray(b"x") * 30_000_000)))
"""
    assert 25 < in_fresh_python("-c", code) < 45  # fresh, as freed memory that a process keeps is used again unseen


def test_another_python_answers_in_json_on_its_last_line():
    assert in_fresh_python("-c", "print('said before'); print('[1, null]')") == [1, None]
    with pytest.raises(subprocess.CalledProcessError):
        in_fresh_python("-c", "raise SystemExit(3)")


def test_the_machine_is_named_with_its_versions():
    assert f"Python {sys.version.split()[0]}" in machine()
