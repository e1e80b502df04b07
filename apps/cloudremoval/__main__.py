"""`python -m foveal.apps.cloudremoval` is the same as `foveal cloudremoval`."""

import sys

from foveal.core.cli import main

sys.exit(main(["cloudremoval", *sys.argv[1:]]))
