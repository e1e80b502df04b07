"""torch.export: the network's graph with free batch and sizes, for PyTorch without this package."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as symbolic_sizes

from ..weights.card import Card
from .archive import CARD
from .guard import refuse_code

AXES = ("depth", "height", "width")
INSTANCES = 300  # of the example of a bag


def save(net: nn.Module, card: Card, path: Path) -> None:
    """Write the network's graph and weights, with its card as the extra file `card.json`."""
    content = BytesIO()  # given a file, PyTorch aborts the process when the disk is full
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No complete tensor found")  # of channels-last weights
        torch.export.save(exported(net, card), content, extra_files={CARD: card.to_json()})
    path.write_bytes(content.getbuffer())


def load(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Open an exported graph on a device.

    Raises:
        UserError: opening it could run code.
    """
    refuse_code(path)
    program = torch.export.load(path)
    if device.type != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, str(device))
    return program.module()


def exported(net: nn.Module, card: Card) -> ExportedProgram:
    """Return the graph of a network for any batch and all sizes that the card allows, or for bags of any length.

    Sizes are kept oblivious of the example's and conditions on them deferred to the run, because without that a
    program refuses sizes 0 and 1, and with them images that one attention window holds.
    """
    shape, sizes = _bag(card) if card.kind == "bag" else _images(card)
    example = torch.zeros(shape, device=next(net.parameters()).device)
    with symbolic_sizes.patch(backed_size_oblivious=True):
        program = torch.export.export(
            net, (example,), dynamic_shapes=(sizes,), prefer_deferred_runtime_asserts_over_guards=True
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def _bag(card: Card) -> tuple[list[int], dict[int, Any]]:
    """Return the shape of an example, and the free axes."""
    return [1, INSTANCES, len(card.channels)], {1: Dim("instances", min=1)}


def _images(card: Card) -> tuple[list[int], dict[int, Any]]:
    """Return the shape of an example, larger than a tile and different along each axis, and the free axes."""
    shape, sizes = [2, card.planes], {0: Dim("batch", min=1)}
    if card.fixed_tile:
        return [*shape, *card.per_axis("tile")], sizes
    named = zip(AXES[-card.dimensions :], card.per_axis("tile"), card.per_axis("size_multiple"), strict=True)
    for axis, (name, tile, multiple) in enumerate(named, start=2):
        shape.append((card.dimensions + 3 - axis) * tile)
        sizes[axis] = _size(name, multiple, card.smallest_size)
    return shape, sizes


def _size(name: str, multiple: int, smallest: int) -> Any:
    if multiple == 1:
        return Dim(name, min=smallest)
    return multiple * Dim(f"{name}_units", min=-(-smallest // multiple))
