"""The command `export`: writes a program, runs it beside its network, and keeps it only if both agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from ..weights.card import Card
    from ..weights.load import Program

LIMIT = 1e-4
"""Largest relative difference, ||program - network|| / ||network||, with which a program is kept."""

SUFFIXES = {"pt2": ".pt2", "aoti": ".pt2", "onnx": ".onnx", "safetensors": ".safetensors"}
"""Formats whose own tools want a certain suffix."""


def export(
    weights: str,
    output: Path,
    format: Literal["torchscript", "pt2", "aoti", "onnx", "safetensors"],
    device: str = "cpu",
) -> None:
    """Write a network as one file that runs without this package, for inputs of any size.

    The file carries the weights card. It is opened again and run beside the network at two sizes, and kept only if
    both agree within 1e-4 (relative, float32).

    Args:
        weights: Name of shipped weights, or a checkpoint, safetensors file or the authors' checkpoint.
        output: The file to write.
        format: The kind of program: torchscript (C++ or bare PyTorch), pt2 (torch.export), aoti (compiled for this
            kind of machine by AOTInductor, slow to write), onnx (other run times, needs foveal[onnx]), or safetensors
            for the weights and the card alone.
        device: Where the program is checked, cpu or cuda; aoti compiles for it.

    Example:
        foveal superres export --weights dlgsanet-tiny-x4 --format torchscript --output x4.pt

    Raises:
        UserError: the weights cannot be loaded, the suffix does not suit the format, a tool is missing, or the program
            differs from its network.
    """
    output = Path(output).expanduser()
    if output.exists() and Path(weights).exists() and output.samefile(weights):
        raise UserError(f"--output {output}: is the weights file itself; give another name.")
    if output.suffix != SUFFIXES.get(format, output.suffix):
        raise UserError(f"--output {output}: a file of format {format} is named *{SUFFIXES[format]}.")
    from ..atomic import written_beside
    from ..inference.device import find_device
    from ..weights.load import load_model, load_program
    from .artifact import tool_of

    where = find_device(device)
    net = load_model(weights, where).requires_grad_(False)
    with written_beside(output) as part:
        tool_of(format).save(net, net.card, part)
        differences = compare(load_program(part, where), net, net.card)
        if not max(differences.values()) <= LIMIT:
            raise UserError(
                f"{output}: not written, because the {format} program differs from its network: {_told(differences)}"
            )
    size = output.stat().st_size / 1e6
    print(f"{output}: {format}, {size:.1f} MB, relative difference to the network {_told(differences)}")


def compare(program: Program, net: nn.Module, card: Card) -> dict[tuple[int, int], float]:
    """Return {(height, width): relative difference} of a program to its network, on seeded noise in the value range.

    One size is a tile; the other is odd where the card allows it, and longer than one attention window along one axis
    and shorter along the other for the usual windows.
    """
    import torch

    device = next(net.parameters()).device
    low, high = card.value_range
    generator = torch.Generator().manual_seed(0)
    differences = {}
    for height, width in _sizes(card):
        image = low + (high - low) * torch.rand(1, len(card.channels), height, width, generator=generator)
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            expected = net(image.to(device)).double()
            found = program(image.to(device)).double()
        differences[height, width] = float((found - expected).norm() / expected.norm())
    return differences


def _sizes(card: Card) -> list[tuple[int, int]]:
    tile, multiple = card.tile, card.size_multiple
    odd = (2 * tile // 3 + 1, max(tile // 3 - 1, 1))
    return [(tile, tile), tuple(-(-side // multiple) * multiple for side in odd)]


def _told(differences: dict[tuple[int, int], float]) -> str:
    return ", ".join(f"{value:.1e} at {height}x{width}" for (height, width), value in differences.items())
