"""Files of a slide's features: one row for each tile, with where the tiles lie.

Read are HDF5 as CLAM and TRIDENT write it, one file for each slide with `features` and `coords`; HDF5 with one group
for each slide and `feat` and `coords` in it, as ACMIL's authors have it; and .pt files of a tensor or a dictionary.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import UserError

if TYPE_CHECKING:
    import h5py

SUFFIXES = (".h5", ".hdf5", ".pt", ".pth")
VALUES = ("features", "feat", "feats")
COORDS = ("coords", "coord")


@dataclass(frozen=True)
class Features:
    """The features of a slide's tiles.

    Attributes:
        values: (N, D), a row for each tile, as stored, often float16.
        coords: (N, 2), the tiles' top left corners, level-0 pixels, x then y; None where the file has none.
        facts: what the file says of itself in plain values, such as the encoder, mpp and patch_size.
    """

    values: np.ndarray
    coords: np.ndarray | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def read_features(path: Path, group: str = "") -> Features:
    """Read the features of one slide.

    Args:
        path: an HDF5 or .pt file.
        group: the slide's group in an HDF5 file of many slides; "" where the file holds one.

    Raises:
        UserError: the file is missing, damaged, wants code to be run, or holds no features of tiles.
    """
    where = f"{path} group {group}" if group else str(path)
    found = _from_torch(path) if path.suffix.lower() in (".pt", ".pth") else _from_hdf5(path, group)
    if (problem := _problem(found)) is not None:
        raise UserError(f"{where}: {problem}.")
    return found


def groups(path: Path) -> dict[str, dict[str, Any]]:
    """Return {slide: attributes of its group} of an HDF5 file that holds many slides, in the order of their names.

    Raises:
        UserError: the file is missing, damaged, or has no groups.
    """
    with _opened(path) as file:
        found = {name: _plain(each.attrs) for name, each in sorted(file.items()) if hasattr(each, "keys")}
    if not found:
        raise UserError(f"{path}: has no group for each slide. Give the folder of such files, or a file with groups.")
    return found


def _from_hdf5(path: Path, group: str) -> Features:
    with _opened(path) as file:
        if group and group not in file:
            raise UserError(f"{path}: has no group {group}.")
        place = file[group] if group else file
        stored = next((place[name] for name in VALUES if name in place), None)
        if stored is None:
            raise UserError(f"{path}: holds {', '.join(place) or 'nothing'}, but no {' or '.join(VALUES)}.")
        coords = next((place[name] for name in COORDS if name in place), None)
        facts = _plain(coords.attrs if coords is not None else {}) | _plain(stored.attrs) | _plain(place.attrs)
        try:
            return Features(_rows(stored[()]), None if coords is None else _rows(coords[()]), facts)
        except OSError as error:
            raise UserError(f"{path}: is damaged ({error}).") from None


def _from_torch(path: Path) -> Features:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: cannot be read as tensors alone ({reason}).") from None
    named = content if isinstance(content, Mapping) else {"features": content}
    tensors = {name: each for name, each in named.items() if isinstance(each, torch.Tensor)}
    values = next((tensors[name] for name in VALUES if name in tensors), None)
    if values is None:
        raise UserError(f"{path}: holds no tensor, and no dictionary with one under {' or '.join(VALUES)}.")
    if values.dtype == torch.bfloat16:
        values = values.float()
    coords = next((tensors[name] for name in COORDS if name in tensors), None)
    facts = {str(name): each for name, each in named.items() if isinstance(each, str | int | float)}
    return Features(_rows(values.numpy()), None if coords is None else _rows(coords.numpy()), facts)


def _opened(path: Path) -> h5py.File:
    import h5py

    if not path.is_file():
        raise UserError(f"{path}: there is no such file.")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path}: is no HDF5 file, or is damaged ({error}).") from None


def _rows(values: np.ndarray) -> np.ndarray:
    """Drop a first axis of length 1, with which some tools write a bag."""
    return values[0] if values.ndim == 3 and len(values) == 1 else values


def _problem(found: Features) -> str | None:
    shape = found.values.shape
    if len(shape) != 2 or 0 in shape or not np.issubdtype(found.values.dtype, np.number):
        return f"features must be numbers, a row for each tile, found {found.values.dtype} of shape {list(shape)}"
    if found.coords is not None and found.coords.shape != (shape[0], 2):
        return f"there are {shape[0]} features, but coords of shape {list(found.coords.shape)}"
    return None


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that are one text or number."""
    found = {}
    for name, value in attributes.items():
        value = value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value
        value = value.decode() if isinstance(value, bytes) else value
        if isinstance(value, str | int | float):
            found[name] = value
    return found
