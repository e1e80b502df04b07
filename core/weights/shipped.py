"""The weights inside the package, by name. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..messages import suggestion

APPS = Path(__file__).parents[2] / "apps"


def shipped_weights() -> dict[str, Path]:
    """Return {name: file} of all weights that come with the package, sorted by name."""
    return {path.stem: path for path in sorted(APPS.glob("*/weights/*.safetensors"), key=lambda path: path.stem)}


def find_weights(source: str | Path) -> Path:
    """Return the file that `source` means: the name of shipped weights, or a path.

    Raises:
        UserError: there is neither such a name nor such a file; close names are suggested.
    """
    shipped = shipped_weights()
    if str(source) in shipped:
        return shipped[str(source)]
    path = Path(source).expanduser()
    if path.is_dir():
        raise UserError(f"{source}: is a folder; give the weights file inside it.")
    if not path.is_file():
        if beside := sorted(each.name for each in path.parent.glob("*.ckpt")):
            raise UserError(f"{source}: there is no such file; {path.parent} has {', '.join(beside)}.")
        raise UserError(
            f"{source}: no such weights file, and no shipped weights of this name{suggestion(str(source), shipped)}"
        )
    return path
