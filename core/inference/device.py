"""Which device to compute on, and in which precision."""

from __future__ import annotations

from typing import Literal

import torch

from ..errors import UserError

Precision = Literal["float32", "bfloat16", "float16"]


def find_device(name: str) -> torch.device:
    """Return the device of this name; "auto" is the first GPU, or the CPU where there is none.

    Raises:
        UserError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: no such kind of device; give auto, cpu, cuda or cuda:1.") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: only cpu and cuda are supported; give auto, cpu, cuda or cuda:1.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {name}: PyTorch finds no GPU here; give --device cpu, or see `foveal doctor`.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: there are {torch.cuda.device_count()} GPUs, counted from cuda:0.")
    return device


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context in which a network computes in this precision; its weights stay float32.

    Raises:
        UserError: there is no such precision.
    """
    if precision not in ("float32", "bfloat16", "float16"):
        raise UserError(f"--precision {precision}: give float32, bfloat16 or float16.")
    return torch.autocast(device.type, dtype=getattr(torch, precision), enabled=precision != "float32")
