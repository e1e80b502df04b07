"""Keeps a torch.export archive from running code when it is opened.

torch.export.load trusts its file: it unpickles members, evaluates the text of symbolic sizes and writes names from the
file into Python code. Here every text in the archive is held against what an export of ours contains, before that.
"""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from .archive import read_members

NAME = re.compile(r"[\w.+-]*")
"""Names of values, parameters, devices and versions: no text that could end one statement and begin another."""

TRACE = re.compile(r"[\w.,;:<>@ -]*")
"""The module that a node comes from, `@2` where it is called a third time; only shown, never run."""

TARGET = re.compile(
    r"torch\.ops\.aten\.(?!save|from_file|__(?!(?:and|or|xor)__\.))\w+\.\w+|torch\.sym_\w+|_operator\.[a-z]+|math\.[a-z]+"
)
"""Operators on tensors and sizes, apart from the two that reach files; of names in underscores only those of logic."""

SIZE_WORDS = re.compile(r"Symbol\('[su]\d+', (?:positive=True, )?integer=True\)|Integer\(-?\d+\)|[su]\d+|-?\d+")
SIZE_FUNCTIONS = re.compile(
    r"(?:Add|Mul|Pow|Min|Max|(?:Python)?Mod|(?:Floor|Clean|Ceil)Div|Eq|Ne|(?:Une|E)quality"
    r"|(?:Strict)?(?:Greater|Less)Than|And|Or|Not)(?=\()"
)
SIZE_REST = re.compile(r"[\s(),+*/-]*")

SPEC_VALUES = {"type": (None, "builtins.tuple", "builtins.list", "builtins.dict"), "context": (None, "null", "[]")}
"""How arguments and results may be nested."""


def refuse_code(path: Path) -> None:
    """Refuse an archive with anything in it that torch.export.load could run.

    Raises:
        UserError: names what was found.
    """
    for name, content in read_members(path).items():
        if name.endswith(".json") and not name.startswith("extra/"):
            _check_json(path, json.loads(content))
        elif name.endswith(".pt"):
            _check_pickle(path, content)
        elif "custom_obj" in name:
            _refuse(path, f"the object {name}")


def _check_json(path: Path, tree: Any) -> None:
    for key, value in _entries(tree):
        if not NAME.fullmatch(key) and not is_size(key):
            _refuse(path, f"the name {key!r}")
        if isinstance(value, str) and not _is_harmless(key, value):
            _refuse(path, f"the {key} {value!r}")
        if key in ("use_pickle", "guards_code") and value:
            _refuse(path, f"{key} {value!r}")


def _is_harmless(key: str, text: str) -> bool:
    if key == "as_string":
        return True  # a constant argument, such as the message of an assertion; it is never evaluated
    if key == "target":
        return TARGET.fullmatch(text) is not None
    if key == "expr_str":
        return is_size(text)
    if key in ("in_spec", "out_spec"):
        entries = _entries(json.loads(text))
        return all(value in SPEC_VALUES[name] for name, value in entries if name in SPEC_VALUES)
    if key in ("nn_module_stack", "torch_fn"):
        return TRACE.fullmatch(text) is not None
    return NAME.fullmatch(text) is not None


def is_size(text: str) -> bool:
    """Tell whether a text is arithmetic on sizes and nothing else."""
    return SIZE_REST.fullmatch(SIZE_FUNCTIONS.sub("", SIZE_WORDS.sub("", text))) is not None


def _check_pickle(path: Path, content: bytes) -> None:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except pickle.UnpicklingError:
        _refuse(path, "a pickle of more than tensors")


def _refuse(path: Path, found: str) -> None:
    raise UserError(
        f"{path}: refused, because opening it could run code: it holds {found[:200]}. "
        "Export the network from its checkpoint again."
    )


def _entries(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) for everything in parsed JSON; items of a list come under the list's key."""
    todo = [("", tree)]
    while todo:
        key, node = todo.pop()
        yield key, node
        if isinstance(node, dict):
            todo.extend(node.items())
        elif isinstance(node, list):
            todo.extend((key, item) for item in node)
