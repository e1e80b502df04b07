"""`python -m foveal.apps.volseg` is the same as `foveal volseg`."""

import sys

from foveal.core.cli import main

sys.exit(main(["volseg", *sys.argv[1:]]))
