"""Exported programs, whatever their format, as what the engine runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from ..errors import UserError
from ..weights.card import Card
from ..weights.files import Format, file_format
from . import archive


class Artifact:
    """An exported program with its card.

    Args:
        run: what the format's run time gives.
        card: what the program needs and promises.
    Shape: (N, C, *extent), normalised as the card says -> (N, C', *scale * extent), float32; see `Card.kind`.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], card: Card) -> None:
        self.run = run
        self.card = card

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output; an exported program keeps its own precision and wants its input in order in memory."""
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            return self.run(x.float().contiguous())


def open_artifact(path: Path, device: str | torch.device = "cpu") -> Artifact:
    """Open a file that `export` wrote.

    Args:
        path: the file; its format is read from its content.
        device: where it shall run.

    Raises:
        UserError: the file has no card, would run code, or cannot run here.
    """
    form = file_format(path)
    try:
        card = _card(path, form)
        run = tool_of(form).load(path, torch.device(device))
    except UserError:
        raise
    except Exception as error:  # every run time has its own errors for files of another version or machine
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{path}: this {form} file cannot be opened with PyTorch {torch.__version__} ({reason}). "
            "It is damaged or from another version or machine; export the network again here."
        ) from error
    return Artifact(run, card)


def _card(path: Path, form: Format) -> Card:
    text = tool_of(form).read_card(path) if form == "onnx" else archive.read_card(path)
    if text is None:
        raise UserError(f"{path}: has no weights card, so it is unknown what it needs. Write it with `export`.")
    return Card.from_json(text, source=path)


def tool_of(form: Format) -> ModuleType:
    """Return the module of a format: `save(net, card, path)` and `load(path, device)`."""
    return importlib.import_module(f".{form}", __package__)
