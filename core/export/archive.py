"""The zip archives that PyTorch writes: their members, and the card among them.

Both torch.jit.save and torch.export.save put everything into one root folder and extra files under `<root>/extra/`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

from ..errors import UserError

CARD = "card.json"


def read_members(path: Path) -> dict[str, bytes]:
    """Return the content of an archive by name, without the root folder.

    Raises:
        UserError: the archive is damaged, or has two members of one name, of which two readers may see different ones.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            contents = [(name.partition("/")[2], archive.read(name)) for name in archive.namelist()]
    except zipfile.BadZipFile:
        raise UserError(f"{path}: the file is damaged or was not copied to its end. Copy or write it again.") from None
    if len({name.lower() for name, _ in contents}) < len(contents):
        raise UserError(f"{path}: refused, because its archive holds two files of one name. Export the network again.")
    return dict(contents)


def read_card(path: Path) -> str | None:
    """Return the text of the card in an archive, or None where it has none."""
    text = read_members(path).get(f"extra/{CARD}")
    return None if text is None else text.decode(errors="replace")


def add_card(file: IO[bytes], text: str) -> None:
    """Put a card into an archive that was written without one."""
    with zipfile.ZipFile(file, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/extra/{CARD}", text)
