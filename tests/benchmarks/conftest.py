import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def folder(monkeypatch):
    """What benchmarks import from their own folder."""
    monkeypatch.syspath_prepend(FOLDER)
    yield FOLDER
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)
