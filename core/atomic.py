"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError


def refuse_existing(path: Path) -> None:
    """Refuse to replace a file.

    Args:
        path: the file to write, where nothing may be.

    Raises:
        UserError: it exists.
    """
    if path.exists():
        raise UserError(f"{path}: exists already; give --overwrite to replace it, or another --output.")


def refuse_folder(path: Path) -> None:
    """Refuse to write a file where a folder is.

    Args:
        path: the file to write; an older file may be there.

    Raises:
        UserError: it is one.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the name of a file.")


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; rename it to `path` when the block ends without an error.

    After an error, an interruption or a full disk the temporary file is removed and an older file at `path` is as it
    was. A missing folder is created.

    Args:
        path: the file to write. The temporary name keeps its suffix, which some writers insist on.

    Raises:
        UserError: a folder has that name.
    """
    refuse_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    except Exception as error:
        _name_file(error, part, path)
        raise
    finally:
        part.unlink(missing_ok=True)


def _name_file(error: BaseException | None, part: Path, path: Path) -> None:
    """Tell the system's errors behind `error` the file, which a full disk does not name, and a writer by `part`."""
    while error is not None:
        if isinstance(error, OSError) and error.filename in (None, str(part)):
            error.filename = str(path)
        error = error.__cause__ or error.__context__
