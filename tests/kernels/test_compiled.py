"""Every kernel compiled for GPUs that need not be there: it fits, spills nothing, uses matrix units."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "compiled"
OPERATIONS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "ahead")
SHARED = {80: 166_912, 90: 232_448, 100: 232_448}
"""Bytes of shared memory that a program may have, by architecture."""
SECONDS = 240

pytest.importorskip("triton")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "arch", [90, pytest.param(80, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.slow)]
)
def test_kernels_fit_a_gpu(operation, arch):
    command = [sys.executable, "ahead.py", operation, str(arch)]
    settings = {"TRITON_DEFAULT_FP_FUSION": "1", "OMP_NUM_THREADS": "1"}
    settings = {name: value for name, value in (os.environ | settings).items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(command, cwd=FOLDER, env=settings, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert reports
    for report in reports:
        assert report["shared"] <= SHARED[arch], report
        if arch == 90:
            assert report["spilled"] == 0, report
        if report["products"]:
            assert report["matrix"] > 0, report
