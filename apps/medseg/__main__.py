"""`python -m foveal.apps.medseg` is the same as `foveal medseg`."""

import sys

from foveal.core.cli import main

sys.exit(main(["medseg", *sys.argv[1:]]))
