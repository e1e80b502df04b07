"""The pages of the documentation as data: their fenced blocks, and the commands in these."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: as written after the fence, such as "bash".
        title: the file that the block is, or "".
        text: what stands inside.
    """

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    return [Block(language, title, text) for language, title, text in FENCE.findall(page.read_text())]


def commands(text: str) -> list[list[str]]:
    """Return the words of each command of a shell block, without comments and variables before the command."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for is_joint, group in groupby(words, key=lambda word: word == "&&"):
            command = list(group)
            while command and re.match(r"[A-Z_]+=", command[0]):
                command.pop(0)
            if command and not is_joint:
                found.append(command)
    return found


def inline_code(page: Path) -> list[str]:
    """Return what stands between backticks in the running text of a page, line breaks as spaces."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", FENCE.sub("", page.read_text()))]
