"""Configs in layers: keys are merged, lists replaced whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml


def with_whole_lists(words: Sequence[str]) -> list[str]:
    """Put before each config of a command line options that empty the lists which it gives anew.

    Without them the parser would fill what an item leaves out from the item of an earlier layer in its place, if both
    lists are as long: the folder or the licence of other data.
    """
    known: set[str] = set()
    settled: list[str] = []
    for option, value in zip(words, [*words[1:], ""], strict=True):
        config = value if option in ("--config", "-c") else option.partition("--config=")[2]
        if config:
            lists = set(_lists_of_objects(_content(Path(config))))
            settled += [f"--{name}=[]" for name in sorted(lists & known)]
            known |= lists
        settled.append(option)
    return settled


def _content(config: Path) -> Any:
    try:
        return yaml.safe_load(config.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return None  # the parser tells what is wrong with the file


def _lists_of_objects(content: Any, name: str = "") -> Iterator[str]:
    """Yield the dotted names of all lists that hold mappings."""
    if isinstance(content, list) and any(isinstance(each, dict) for each in content):
        yield name
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _lists_of_objects(value, f"{name}.{key}" if name else str(key))
