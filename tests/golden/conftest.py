"""Let the tests import the neighbours of this file by name, as `python tests/golden/evaluate.py` does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
