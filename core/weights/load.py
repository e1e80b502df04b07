"""Networks and programs from files, by name or path, without executing anything that a file brings along."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from .adapters import adapter_of, fill, recognise, unwrap
from .card import Card
from .files import digest, file_format, read_checkpoint, read_safetensors, save_weights
from .shipped import find_weights

__all__ = ["Program", "digest", "load_model", "load_program", "load_reference", "save_weights"]

PACKAGE = __name__.partition(".")[0]

Program = Callable[[Tensor], Tensor]
"""What the engine runs: (N, C, *extent), normalised as the card says -> (N, C', *scale * extent), with an attribute
`card`; of a classifier, what its card says."""


def load_model(source: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Return a network with its weights, in evaluation mode, in float32.

    Args:
        source: the name of shipped weights, or the path of a safetensors file with a card, of a checkpoint that `fit`
            wrote, or of a checkpoint that the network's authors published.
        device: where the network shall be.

    Returns:
        The network, with its `Card` as the attribute `card`.

    Raises:
        UserError: the file is missing, damaged, would run code, is an exported program, or does not fit its network.
    """
    path = find_weights(source)
    form = file_format(path)
    if form not in ("safetensors", "checkpoint"):
        raise UserError(
            f"{path}: is an exported program ({form}), not a network that can be changed. Run it with infer."
        )
    state, card = _read(path, form)
    try:
        net = _from_card(state, card) if card else _from_authors(state)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return net.float().eval().to(device)


def load_program(source: str | Path, device: str | torch.device = "cpu") -> Program:
    """Return what the engine runs: a network as from `load_model`, or an exported program.

    Args:
        source: as for `load_model`, or the path of a file that `export` wrote.
        device: where it shall run.

    Raises:
        UserError: as for `load_model`; or the program cannot run here.
    """
    path = find_weights(source)
    form = file_format(path)
    if form in ("safetensors", "checkpoint"):
        return load_model(path, device)
    from ..export.artifact import open_artifact  # an artefact's run time (ONNX, Inductor) is not needed for the rest

    return open_artifact(path, device)


def load_reference(
    system: str, weights: Mapping[str, Any] | str | Path, config: Mapping[str, Any] | None = None
) -> nn.Module:
    """Return our network filled with its authors' weights, in evaluation mode, in the dtype of these weights.

    Args:
        system: the network's name, e.g. "dlgsanet".
        weights: tensors or arrays by the authors' names, or the path of the authors' file.
        config: the authors' options; what it does not say is read from the shapes.

    Raises:
        UserError: an unknown network or option, or weights of another network.
    """
    adapter = adapter_of(system)
    if isinstance(weights, Mapping):
        return adapter.from_reference(unwrap(weights), config)
    path = find_weights(weights)
    state, _ = _read(path, file_format(path))
    try:
        return adapter.from_reference(state, config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read(path: Path, form: str) -> tuple[dict[str, Tensor], Card | None]:
    """Return the network's tensors and its card; no card in files of other people."""
    if form == "safetensors":
        state, card = read_safetensors(path)
        return (state, card) if card else (unwrap(state), None)
    content = read_checkpoint(path)
    if "card" not in content:
        return unwrap(content), None
    card = Card.from_json(content["card"], source=path)
    state = unwrap({"state_dict": content.get("state_dict", {})})
    return {name.removeprefix("net."): value for name, value in state.items() if name.startswith("net.")}, card


def _from_card(state: Mapping[str, Tensor], card: Card) -> nn.Module:
    net = _build(card.network["class_path"], card.network.get("init_args", {}))
    _check_card(net, card)
    fill(net, state)
    net.card = card
    return net


def _from_authors(state: Mapping[str, Tensor]) -> nn.Module:
    adapter = recognise(state)
    if adapter is None:
        some = f" Its first entry is {next(iter(state))!r}." if state else ""
        raise UserError(
            f"has no weights card, and its parameter names are those of no network that Foveal knows.{some} "
            "Give a file written by fit or export, or the checkpoint that a network's authors published."
        )
    return adapter.from_reference(state, None)


def _build(class_path: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Construct a network of this package; the random state stays as it was, as all weights are replaced."""
    network = _network_class(class_path)
    try:
        with torch.random.fork_rng(devices=[]):
            return network(**{name: _with_makers(value) for name, value in arguments.items()})
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"weights card: {class_path} cannot be built from its init_args ({error}).") from None


def _with_makers(value: Any) -> Any:
    """Make of every class with arguments what makes such a module: called with what the network adds in front."""
    if isinstance(value, list):
        return [_with_makers(each) for each in value]
    if isinstance(value, Mapping) and "class_path" in value:
        arguments = {name: _with_makers(each) for name, each in value.get("init_args", {}).items()}
        return partial(_network_class(value["class_path"]), **arguments)
    return value


def _network_class(class_path: str) -> type[nn.Module]:
    """Import a network class by its path, which comes from a file and so may reach nothing but our networks."""
    module_path, _, name = class_path.rpartition(".")
    parts = class_path.split(".")
    if parts[0] != PACKAGE or any(part.startswith("_") or not part.isidentifier() for part in parts):
        raise UserError(f"weights card: the network {class_path!r} is not part of Foveal, so it is not loaded.")
    try:
        network = getattr(importlib.import_module(module_path), name)
    except (ImportError, AttributeError):
        raise UserError(f"weights card: this version of Foveal has no network {class_path!r}.") from None
    if not (isinstance(network, type) and issubclass(network, nn.Module) and network.__module__ == module_path):
        raise UserError(f"weights card: {class_path!r} is no network of Foveal, so it is not loaded.")
    return network


def _check_card(net: nn.Module, card: Card) -> None:
    """Refuse a card that promises what its own network says otherwise."""
    names = ("scale", "size_multiple", "smallest_size", "fixed_tile", "dates")
    for name, value in {**{each: getattr(card, each) for each in names}, "in_channels": card.planes}.items():
        actual = getattr(net, name, value)
        if actual != value:
            raise UserError(f"weights card: says {name} {value}, but its network has {actual}. Correct the card.")
