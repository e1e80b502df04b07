"""The command `export`: writes a program, runs it beside its network, and keeps it only if both agree."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..atomic import refuse_existing, written_beside
from ..errors import UserError

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor, nn

    from ..weights.card import Card
    from ..weights.load import Program

LIMIT = 1e-4
"""Largest relative difference, ||program - network|| / ||network||, with which a program is kept."""

BAGS = (300, 7)
"""Instances in the bags with which a program for bags is checked."""

SUFFIXES = {"pt2": ".pt2", "aoti": ".pt2", "onnx": ".onnx", "safetensors": ".safetensors"}
"""Formats whose own tools want a certain suffix."""


def export(
    weights: str,
    output: Path,
    format: Literal["torchscript", "pt2", "aoti", "onnx", "safetensors"],
    device: str = "cpu",
    overwrite: bool = False,
) -> None:
    """Write a network as one file that runs without this package, for inputs of any size that the network takes.

    A network whose card says `fixed_tile` is written for tiles of that size alone.

    The file carries the weights card. It is opened again and run beside the network at two sizes, and kept only if
    both agree within 1e-4 (relative, float32).

    Args:
        weights: Name of shipped weights, or a checkpoint, safetensors file or the authors' checkpoint.
        output: The file to write.
        format: The kind of program: torchscript (C++ or bare PyTorch), pt2 (torch.export), aoti (compiled for this
            kind of machine by AOTInductor, slow to write), onnx (other run times, needs foveal[onnx], slow to write),
            or safetensors for the weights and the card alone.
        device: Where the program is checked, cpu or cuda; aoti compiles for it.
        overwrite: Replace a file that exists already.

    Example:
        {program} --weights best.ckpt --format torchscript --output mine.pt

    Raises:
        UserError: the output exists, the weights cannot be loaded, the suffix does not suit the format, a tool is
            missing or cannot express the network, or the program differs from its network.
    """
    output = Path(output).expanduser()
    if output.exists() and Path(weights).exists() and output.samefile(weights):
        raise UserError(f"--output {output}: is the weights file itself; give another name.")
    if output.suffix != SUFFIXES.get(format, output.suffix):
        raise UserError(f"--output {output}: a file of format {format} is named *{SUFFIXES[format]}.")
    if not overwrite:
        refuse_existing(output)
    minutes = ", compiling, which takes minutes" if format == "aoti" else ""
    _say(f"{output}: writing {weights} as {format}{minutes}")
    from ..inference.device import find_device
    from ..weights.load import load_model, load_program
    from .artifact import tool_of

    where = find_device(device)
    net = load_model(weights, where).requires_grad_(False)
    with written_beside(output) as part:
        _save(tool_of(format), net, part, format)
        size = f"{part.stat().st_size / 1e6:.1f} MB"
        _say(f"{output}: {size}, running beside the network at {' and '.join(_shapes(net.card))}")
        differences = compare(load_program(part, where), net, net.card)
        if not all(each <= LIMIT for each in differences.values()):
            raise UserError(
                f"{output}: not written, because the {format} program differs from its network: {_told(differences)}"
            )
    print(f"{output}: {format}, {size}, relative difference to the network {_told(differences)}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _save(tool: ModuleType, net: nn.Module, path: Path, format: str) -> None:
    try:
        tool.save(net, net.card, path)
    except (UserError, OSError):
        raise
    except Exception as error:  # every tool has its own errors for what it does not know
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        name = type(net).__name__
        raise UserError(f"--format {format} cannot express {name} ({reason[:200]}); use another format.") from error


def compare(program: Program, net: nn.Module, card: Card) -> dict[str, float]:
    """Return the relative difference of a program to its network at two sizes, on seeded noise in the value range."""
    import torch

    from ..inference.prepared import normalised

    device = next(net.parameters()).device
    low, high = card.value_range
    generator = torch.Generator().manual_seed(0)
    differences = {}
    for size, shape in _shapes(card).items():
        values = low + (high - low) * torch.rand(shape, generator=generator)
        values = normalised(values, card).to(device)
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            expected, found = (_run(each, values) for each in (net, program))
        differences[size] = float((found - expected).norm() / expected.norm())
    return differences


def _run(program: Program | nn.Module, values: Tensor) -> Tensor:
    """Return what a program makes of values, float64; one that draws noise draws the same each time."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return program(values).double()


def _shapes(card: Card) -> dict[str, tuple[int, ...]]:
    """Return {what is told of it: shape} of two inputs.

    Of images one is a tile; the other is odd where the card allows it, and longer than one attention window along one
    axis and shorter along the next for the usual windows. Of tiles of a fixed size, one is alone and two are at once.
    """
    channels, tile = len(card.channels), card.per_axis("tile")
    planes = (channels,) if card.dates == 1 else (card.dates, channels)
    if card.kind == "bag":
        return {f"{length} instances": (1, length, channels) for length in BAGS}
    one = {_told_size(tile): (1, *planes, *tile)}
    if card.fixed_tile:
        return one | {f"2 of {_told_size(tile)}": (2, *planes, *tile)}
    odd = [2 * side // 3 + 1 if (len(tile) - axis) % 2 == 0 else side // 3 - 1 for axis, side in enumerate(tile)]
    multiples = card.per_axis("size_multiple")
    other = [-(-max(side, card.smallest_size) // each) * each for side, each in zip(odd, multiples, strict=True)]
    return one | {_told_size(other): (1, *planes, *other)}


def _told_size(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))


def _told(differences: dict[str, float]) -> str:
    return ", ".join(f"{value:.1e} at {size}" for size, value in differences.items())
