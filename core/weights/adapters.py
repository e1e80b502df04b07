"""The common part of the adapters that turn the authors' published weights into our modules.

An adapter is `apps/<app>/models/<system>_adapter.py` with two functions:

    recognises(names) -> bool                     whether these parameter names are of this system
    from_reference(state, config) -> nn.Module    the module, filled, with a `.card`
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..messages import suggestion
from .shipped import APPS

WRAPPERS = ("params_ema", "params", "state_dict", "model")
"""Entries of the authors' files that hold the weights, the best first (the running average before the raw ones)."""


def adapter_names() -> dict[str, str]:
    """Return {system: import path of its adapter} for all networks that can read their authors' weights."""
    root = __name__.removesuffix(".core.weights.adapters")
    files = sorted(APPS.glob("*/models/*_adapter.py"))
    return {path.stem.removesuffix("_adapter"): f"{root}.apps.{path.parts[-3]}.models.{path.stem}" for path in files}


def adapter_of(system: str) -> ModuleType:
    """Import the adapter of a system.

    Raises:
        UserError: there is none of this name; a close name is suggested.
    """
    names = adapter_names()
    if system not in names:
        raise UserError(f"no network called {system!r} reads its authors' weights{suggestion(system, names)}")
    return importlib.import_module(names[system])


def recognise(names: Iterable[str]) -> ModuleType | None:
    """Return the adapter that knows these parameter names, or None."""
    names = frozenset(names)
    return next((each for each in map(adapter_of, adapter_names()) if each.recognises(names)), None)


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of an authors' checkpoint by name, out of the entry that holds them.

    Arrays become tensors, other values are left out, and the prefix "module." of a data-parallel run is dropped.
    """
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    state = {name: torch.as_tensor(value) for name, value in content.items() if hasattr(value, "shape")}
    if state and all(name.startswith("module.") for name in state):
        return {name.removeprefix("module."): value for name, value in state.items()}
    return state


def rename(state: Mapping[str, Tensor], rules: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Return the state with every name rewritten by (pattern, replacement) rules, applied in order."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def refuse_unknown(system: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Refuse options that a system's authors do not have.

    Raises:
        UserError: names the first; a close name is suggested.
    """
    known = tuple(known)
    for name in options:
        if name not in known:
            raise UserError(f"unknown {system} option {name!r}{suggestion(name, known)}")


@contextmanager
def reading_shapes(system: str) -> Iterator[None]:
    """Say of weights from which arguments cannot be read that they are not those of a system.

    Raises:
        UserError: a tensor was missing or had another rank.
    """
    try:
        yield
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"these are no weights of {system}: {error} is missing or has another rank.") from None


def fill(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy a state into a module of the same names and shapes; the module keeps its dtype.

    The counts of batches that norms keep may be missing, as in old files; nothing depends on them.

    Raises:
        UserError: names are missing or left over, or shapes differ; says which.
    """
    counts = {name: each for name, each in module.state_dict().items() if name.endswith(".num_batches_tracked")}
    state = counts | dict(state)
    if difference := _difference(module.state_dict(), state):
        raise UserError(f"the weights do not fit {type(module).__name__}: {difference}.")
    module.load_state_dict(state)


def _difference(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    parts = []
    if missing := [name for name in wanted if name not in found]:
        parts.append(f"missing {_some(missing)}")
    if extra := [name for name in found if name not in wanted]:
        parts.append(f"not part of it {_some(extra)}")
    shapes = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    if shapes:
        parts.append(f"of another size {_some(shapes)}")
    return "; ".join(parts)


def _some(names: list[str], shown: int = 2) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
