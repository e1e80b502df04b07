"""TorchScript: one file that PyTorch for C++ or a bare PyTorch runs, at any size.

Scripted, not traced: the windows of an image depend on its size, and a trace would keep the example's. A network that
says `scriptable = False`, being another project's, is traced at the size of a tile, which its card must fix.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..weights.card import Card
from .archive import CARD, read_members

REACHES_FILES = re.compile(rb"\b(?:torch|ops\.\w+)\.(?:save|load|from_file)\(")


def save(net: nn.Module, card: Card, path: Path) -> None:
    """Write the network as TorchScript, with its card as the extra file `card.json`."""
    with _quiet(), open(path, "wb") as file:  # given a path, PyTorch aborts the process when the disk is full
        program = torch.jit.script(net) if getattr(net, "scriptable", True) else _traced(net, card)
        torch.jit.save(program, file, _extra_files={CARD: card.to_json()})


def _traced(net: nn.Module, card: Card) -> torch.jit.ScriptModule:
    """Return a network's operations on two tiles; it is for any number of them, of this size."""
    assert card.fixed_tile
    example = torch.zeros(2, card.planes, *card.per_axis("tile"), device=next(net.parameters()).device)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that sizes become constants, which is meant
        return torch.jit.trace(net, example, check_trace=False)  # `export` runs it beside the network


def load(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Open a TorchScript file on a device.

    Raises:
        UserError: its code would read or write files.
    """
    for name, content in read_members(path).items():
        if name.startswith("code/") and (found := REACHES_FILES.search(content)):
            raise UserError(f"{path}: refused, because its code calls {found[0].decode()}...), which reaches files.")
    with _quiet():
        return torch.jit.load(path, map_location=device).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the notice that TorchScript will be removed some day."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit")
        yield
