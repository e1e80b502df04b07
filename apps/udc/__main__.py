"""`python -m foveal.apps.udc` is the same as `foveal udc`."""

import sys

from foveal.core.cli import main

sys.exit(main(["udc", *sys.argv[1:]]))
