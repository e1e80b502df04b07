"""What MkDocs runs around a build.

The package is the repository root, whatever that folder is called; a link gives it the name that it is imported by.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority

ROOT = Path(__file__).parents[1]
DOCUMENTED = ("__init__.py", "core", "kernels")
links = Path()


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: Any) -> None:
    """Show mkdocstrings a folder in which the package is called `foveal`."""
    global links
    links = Path(tempfile.mkdtemp())
    (links / "foveal").mkdir()
    for name in DOCUMENTED:
        (links / "foveal" / name).symlink_to(ROOT / name)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(links)]


def on_post_build(config: Any) -> None:
    """Remove the folder of links."""
    shutil.rmtree(links)
