"""What MkDocs runs around a build.

The page of the Python interface gets an entry for each block of the attention library.
The package is the repository root, whatever that folder is called; a link gives it the name that it is imported by.
"""

import ast
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


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Return a page; that of the Python interface with every attention block at its end."""
    return "\n\n".join([markdown, *attention_blocks()]) if page.file.src_uri == "python.md" else markdown


def attention_blocks() -> list[str]:
    """Return what makes mkdocstrings describe each module with a `forward` in the files of `core/attention`."""
    found = []
    for path in sorted((ROOT / "core" / "attention").glob("[!_]*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any(getattr(each, "name", "") == "forward" for each in node.body):
                found.append(f"::: foveal.core.attention.{path.stem}.{node.name}")
    return found


def on_post_build(config: Any) -> None:
    """Remove the folder of links."""
    shutil.rmtree(links)
