"""AOTInductor: the network compiled to machine code, in one file.

Such a file fits the kind of processor that it was compiled on, and is native code: opening it runs it. So it is only
opened under its own suffix, and a person should open only those whose origin they know.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..weights.card import Card
from .archive import add_card, read_members
from .pt2 import exported
from .quiet import quiet

SUFFIX = ".pt2"


def find_compiler() -> tuple[str, str | None]:
    """Return the C++ compiler that PyTorch calls, as CXX has it or its default, and its path, None without one."""
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return name, shutil.which(name.partition(" ")[0])  # CXX may be "ccache g++"


def save(net: nn.Module, card: Card, path: Path) -> None:
    """Compile the network for the device that it is on, and put its card into the package.

    Raises:
        UserError: there is no C++ compiler.
    """
    compiler, path_of_compiler = find_compiler()
    if path_of_compiler is None:
        raise UserError(
            f"--format aoti compiles C++, and there is no compiler {compiler!r} here. Install one (apt install g++), "
            "name another in CXX, or use another format."
        )
    import torch._inductor

    content = BytesIO()  # given a file, PyTorch aborts the process when the disk is full
    with quiet("torch.utils.cpp_extension"):
        torch._inductor.aoti_compile_and_package(exported(net, card), package_path=content)
    add_card(content, card.to_json())
    path.write_bytes(content.getbuffer())


def load(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Open a compiled network.

    Raises:
        UserError: the file has another suffix, or was compiled for another kind of device.
    """
    if path.suffix != SUFFIX:
        raise UserError(
            f"{path}: holds native code, which is only run from a file named *{SUFFIX}. Rename it if you trust it."
        )
    built_for = _device(path)
    if built_for != device.type:
        raise UserError(
            f"{path}: is compiled for {built_for}; give --device {built_for}, or export it for {device.type}."
        )
    import torch._inductor

    return torch._inductor.aoti_load_package(str(path), device_index=device.index if device.index is not None else -1)


def _device(path: Path) -> str:
    facts = [json.loads(text) for name, text in read_members(path).items() if name.endswith("_metadata.json")]
    return next((fact["AOTI_DEVICE_KEY"] for fact in facts if "AOTI_DEVICE_KEY" in fact), "cpu")
