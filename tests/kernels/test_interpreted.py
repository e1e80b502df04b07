"""Every kernel in Triton's interpreter, in a process of its own: what lies out of bounds may bring it down."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "interpreted"
OPERATIONS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("operands", "interpreter"))

pytest.importorskip("triton")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_kernels_agree_with_the_equations(operation):
    plugins = ["-p", "interpreter", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "-c", os.devnull, f"{operation}.py"]
    settings = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=FOLDER, env=os.environ | settings, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
