"""`foveal bench attention`: token mixers side by side on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import torch

from ..errors import UserError
from ..inference.device import find_device
from .cost import measured_apart
from .measure import UNIT, machine
from .mixers import REPRESENTATIVE, find_mixer
from .report import show, write_report


def attention(
    mixers: list[str] | None = None,
    dimension: Literal[2, 3] = 2,
    size: int | None = None,
    dim: int = 96,
    heads: int = 4,
    device: str = "auto",
    output: Path | None = None,
) -> int:
    """Measure what token mixers cost on this machine: weights, multiply-adds, time, memory and growth.

    Each runs in a process of its own, on one map in float32. The time of a forward pass is measured at 1/2, 3/4, 1 and
    5/4 of the size; growth is the power of the number of tokens with which it grows between them. What cannot run is
    listed with its reason.

    Args:
        mixers: files or classes of the attention library, such as window or HiLoAttention, or paths of other classes;
            without it, one of every family.
        dimension: spatial axes of the map.
        size: tokens along each axis (default: 56 in 2D, 16 in 3D).
        dim: channels.
        heads: attention heads.
        device: auto, cpu, cuda or cuda:1.
        output: folder for table.csv, table.md and time.png.

    Example:
        foveal bench attention --mixers dense window hilo --output mixers

    Returns:
        0, or 1 where a mixer could not be measured.

    Raises:
        UserError: a mixer, a device or a number that there is not.
    """
    if size is None:
        size = {2: 56, 3: 16}[dimension]
    if size < 4:
        raise UserError(f"--size {size}: give at least 4, as a half of it is measured too")
    if dim < 1 or heads < 1:
        raise UserError(f"--dim {dim} --heads {heads}: give at least 1")
    names = mixers or list(REPRESENTATIVE[dimension])
    for name in names:
        find_mixer(name)
    where = find_device(device)
    costs = []
    for number, name in enumerate(names, 1):
        print(f"{number}/{len(names)} {name}", file=sys.stderr, flush=True)
        costs.append(measured_apart(name, dimension, size, dim, heads, str(where)))
    shape = "x".join([str(size)] * dimension)
    title = f"Token mixers on a map of {shape} tokens, {dim} channels, {heads} heads; {_where(where)}"
    show(costs, title)
    if output:
        write_report(output, costs, title)
    return 0 if all(cost.step is not None for cost in costs) else 1


def _where(device: torch.device) -> str:
    """Say on what and by which clock the times were taken."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}; GPU ms"
    return f"{machine()}; {UNIT}"
