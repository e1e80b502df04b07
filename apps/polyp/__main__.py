"""`python -m foveal.apps.polyp` is the same as `foveal polyp`."""

import sys

from foveal.core.cli import main

sys.exit(main(["polyp", *sys.argv[1:]]))
