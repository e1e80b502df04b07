"""An operation at some size: its operands, the call, what it has to do, and what else computes the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from .floors import Work

Form = Callable[..., Tensor]
"""Takes the operands."""


class Operand(NamedTuple):
    """A tensor of random numbers.

    Attributes:
        shape: of it.
        scale: its standard deviation.
        wide: it stays float32.
        trained: it wants a gradient.
    """

    shape: tuple[int, ...]
    scale: float = 1.0
    wide: bool = False
    trained: bool = True


@dataclass(frozen=True)
class Case:
    """One operation at one size.

    Attributes:
        operation: folder of foveal.kernels.
        size: in words, for the table.
        operands: what `call` takes.
        call: the public function.
        forward: what it has to do in half precision.
        backward: and its gradient.
        rivals: what makes other forms of the same, by name, for a device.
    """

    operation: str
    size: str
    operands: Sequence[Operand]
    call: Form
    forward: Work
    backward: Work
    rivals: Mapping[str, Callable[[str], Form]] = field(default_factory=dict)

    def draw(self, dtype: torch.dtype, device: str, seed: int = 0, permuted: bool = False) -> list[Tensor]:
        """Return the operands; permuted ones have the second axis last in memory."""
        generator = None if device == "meta" else torch.Generator(device).manual_seed(seed)
        tensors = []
        for shape, scale, wide, trained in self.operands:
            kind = torch.promote_types(dtype, torch.float32) if wide else dtype
            x = torch.randn(shape, generator=generator, device=device).mul_(scale).to(kind)
            if permuted and x.ndim > 2:
                x = x.transpose(1, -1).contiguous().transpose(1, -1)
            tensors.append(x.requires_grad_(trained))
        return tensors
