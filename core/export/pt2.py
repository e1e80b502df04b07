"""torch.export: the network's graph with free batch, height and width, for PyTorch without this package."""

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
    """Return the graph of a network for any batch, and for any height and width that the card allows.

    Sizes are kept oblivious of the example's and conditions on them deferred to the run, because without that a
    program refuses sizes 0 and 1, and with them images that one attention window holds.
    """
    multiple = card.size_multiple
    example = torch.zeros(2, len(card.channels), 3 * card.tile, 2 * card.tile, device=next(net.parameters()).device)
    sizes: dict[int, Any] = {0: Dim("batch", min=1), 2: Dim("height", min=1), 3: Dim("width", min=1)}
    if multiple > 1:
        sizes |= {axis: multiple * Dim(f"{name}_units", min=1) for axis, name in ((2, "height"), (3, "width"))}
    with symbolic_sizes.patch(backed_size_oblivious=True):
        program = torch.export.export(
            net, (example,), dynamic_shapes=(sizes,), prefer_deferred_runtime_asserts_over_guards=True
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program
