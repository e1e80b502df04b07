"""`python -m foveal.apps.wsi` is the same as `foveal wsi`."""

import sys

from foveal.core.cli import main

sys.exit(main(["wsi", *sys.argv[1:]]))
