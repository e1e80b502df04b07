"""`python -m foveal.apps.superres` is the same as `foveal superres`."""

import sys

from foveal.core.cli import main

sys.exit(main(["superres", *sys.argv[1:]]))
