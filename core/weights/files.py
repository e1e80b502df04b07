"""Weights files: which format a file has, reading without executing code, writing whole."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from ..atomic import written_beside
from ..errors import UserError
from .card import Card

Format = Literal["safetensors", "checkpoint", "torchscript", "pt2", "aoti", "onnx"]
"""What a weights file can be; the last four are exported programs."""

ONNX_HEAD = re.compile(rb"\x08[\x01-\x7f][\x12\x1a\x22\x28\x32\x3a\x42]", re.DOTALL)
"""A protobuf message whose first field is ONNX's ir_version and whose second is another field of ModelProto."""


def digest(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_format(path: Path) -> Format:
    """Tell the format of a weights file from its content; the suffix is not looked at.

    Raises:
        UserError: the content is none of the known formats, or an archive that cannot be read to its end.
    """
    with open(path, "rb") as file:
        head = file.read(16)
    if head[:4] == b"PK\x03\x04":
        return _archive_format(path)
    if head[8:9] == b"{":
        return "safetensors"
    if head[:1] == b"\x80":
        return "checkpoint"
    if ONNX_HEAD.match(head):
        return "onnx"
    raise UserError(
        f"{path}: is no weights file (its content is neither safetensors, nor a checkpoint, nor an exported program). "
        "Give a file written by fit, export or the network's authors."
    )


def _archive_format(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        raise UserError(f"{path}: the file is damaged or was not copied to its end. Copy or write it again.") from None
    inner = {name.partition("/")[2] for name in names}  # archives of torch keep everything in one folder
    if "constants.pkl" in inner:
        return "torchscript"
    if any(name.startswith("data/aotinductor/") for name in inner):
        return "aoti"
    if any(name.startswith("models/") for name in inner):
        return "pt2"
    if "data.pkl" in inner:
        return "checkpoint"
    raise UserError(
        f"{path}: is a zip archive, but holds no weights. Give a file written by fit, export or the authors."
    )


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], Card | None]:
    """Return the tensors of a safetensors file, on the CPU, and its card if it has one.

    Raises:
        UserError: the file is damaged, or its card is malformed.
    """
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("card")
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise UserError(f"{path}: damaged or cut-off safetensors file ({error}). Copy or write it again.") from None
    return state, None if text is None else Card.from_json(text, source=path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a PyTorch checkpoint, on the CPU, without executing anything from it.

    Raises:
        UserError: the file wants code to be run, is damaged, or holds no mapping.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickle protocols, of which the error below tells
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: {_unpickling_problem(str(error))}") from None
    except Exception as error:  # damaged bytes make the reader fail in every possible way
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: damaged or cut-off checkpoint ({reason}). Copy or write it again.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a checkpoint. Give a file that holds weights.")
    return content


def _unpickling_problem(message: str) -> str:
    """Say in one line what the weights-only loader of PyTorch refused."""
    found = re.search(r"(?:GLOBAL|global|class|function)\s+`?([\w.]+\.[\w.]+)", message)
    if not found:
        return (
            "damaged, or no checkpoint of tensors and plain values, which alone are loaded. Give a file with weights."
        )
    return (
        f"refused, because loading it would run code ({found[1]}). A weights file may hold only tensors and plain "
        "values; get it as safetensors, or save its state dict alone."
    )


def save_weights(module: nn.Module, card: Card, path: str | Path) -> None:
    """Write the state of `module` with its card as a safetensors file; `load_model` reads it back.

    Args:
        module: the network; its parameters and persistent buffers are saved in their own dtype.
        card: must describe this module.
        path: the file to write; it appears whole or not at all.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    with written_beside(Path(path)) as part:
        part.write_bytes(serialise(state, metadata={"card": card.to_json(), "format": "pt"}))
