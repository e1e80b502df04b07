"""Check and time the kernels on this machine's GPU, and record it: `python benchmarks/kernels.py [OPERATION ...]`.

It is `python -m foveal.kernels.bench`, with the table put into benchmarks/RESULTS.md as well.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measure import fill

from foveal.kernels.bench.__main__ import main


def recorded(arguments: list[str]) -> int:
    """Run the benchmark and return its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        code = main([*arguments, "--output", folder])
        page = Path(folder, "kernels.md")
        if page.exists():
            fill("Kernels on a GPU", page.read_text())
    return code


if __name__ == "__main__":
    sys.exit(recorded(sys.argv[1:]))
