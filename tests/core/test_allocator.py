import platform
import subprocess
import sys

import pytest

FAULTS_OF_A_SECOND_ARRAY = """\
import resource
import numpy as np
from foveal.core.allocator import keep_freed_memory

keep_freed_memory()
np.ones(64 << 20, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(64 << 20, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_used_again_without_page_faults():
    command = [sys.executable, "-c", FAULTS_OF_A_SECOND_ARRAY]
    assert int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) < 100


def test_it_does_nothing_elsewhere(monkeypatch):
    from foveal.core import allocator

    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    allocator.keep_freed_memory()
