"""A block of ours with the weights of a case."""

from collections.abc import Sequence

import torch
from parity import Case
from torch import nn

from foveal.core.weights.adapters import fill, rename


def filled(block: nn.Module, case: Case, rules: Sequence[tuple[str, str]] = ()) -> nn.Module:
    """Return a block in float64 and evaluation mode with the case's weights, names rewritten by the rules."""
    state = {name: torch.from_numpy(value) for name, value in case.weights().items()}
    fill(block.double(), rename(state, rules))
    return block.eval()
