"""ONNX: the network's graph for other run times; runs here with onnxruntime. Needs the extra `onnx`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..weights.card import Card
from .pt2 import exported
from .quiet import quiet


def save(net: nn.Module, card: Card, path: Path) -> None:
    """Write the network as ONNX, its card under `card` in the metadata.

    The input is `image` (batch, channel, height, width), the output is `output`.

    Raises:
        UserError: the packages for ONNX are not installed.
    """
    _needed("onnxscript")
    with quiet("onnx_ir", "onnxscript"):
        program = torch.onnx.export(
            exported(net, card), input_names=["image"], output_names=["output"], dynamo=True, verbose=False
        )
    for node in program.model.graph:
        node.metadata_props.clear()  # where each node came from, several times as large as the graph
    program.model.metadata_props["card"] = card.to_json()
    program.save(path, external_data=False)


def load(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Open an ONNX file with onnxruntime.

    Raises:
        UserError: onnxruntime is not installed, or cannot use the device.
    """
    session = _session(path, device)
    name = session.get_inputs()[0].name

    def run(x: Tensor) -> Tensor:
        (output,) = session.run(None, {name: x.cpu().numpy()})
        return torch.from_numpy(output).to(x.device)

    return run


def read_card(path: Path) -> str | None:
    """Return the text of the card in an ONNX file, or None where it has none."""
    return _session(path, torch.device("cpu")).get_modelmeta().custom_metadata_map.get("card")


def _session(path: Path, device: torch.device) -> "onnxruntime.InferenceSession":  # noqa: F821, UP037
    runtime = _needed("onnxruntime")
    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if provider not in runtime.get_available_providers():
        raise UserError(f"{path}: this onnxruntime has no {provider}; give --device cpu, or install onnxruntime-gpu.")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return runtime.InferenceSession(str(path), options, providers=[provider])


def _needed(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise UserError(f"ONNX needs {package}, which is not installed: pip install foveal[onnx]") from None
