"""Files that a dataset names and does not hold."""

from collections.abc import Sequence
from pathlib import Path

from ...core.errors import UserError


def refuse_missing(files: Sequence[Path], kind: str, advice: str = "") -> None:
    """Tell what files are missing, if any are.

    Args:
        files: that must be there.
        kind: what they are, for the error.
        advice: a sentence on how to get them.

    Raises:
        UserError: one is missing.
    """
    if missing := [each for each in files if not each.is_file()]:
        told = f"{missing[0]}: there is no such file; {len(missing)} of {len(files)} {kind} are missing."
        raise UserError(f"{told} {advice}".rstrip())
