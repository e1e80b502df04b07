"""A block of ours with the weights of a case."""

from collections.abc import Sequence

import torch
from parity import Case
from torch import Tensor, nn

from foveal.core.weights.adapters import fill, rename


def filled(block: nn.Module, case: Case, rules: Sequence[tuple[str, str]] = ()) -> nn.Module:
    """Return a block in float64 and evaluation mode with the case's weights, names rewritten by the rules.

    A kernel of one tap may have been written with fewer or more axes of length 1 than ours has.
    """
    return filled_from(block, {name: torch.from_numpy(value) for name, value in case.weights().items()}, rules)


def filled_from(block: nn.Module, state: dict[str, Tensor], rules: Sequence[tuple[str, str]] = ()) -> nn.Module:
    """Return a block like `filled`, with the weights of a state."""
    ours = block.double().state_dict()
    state = {name: _like(value, ours.get(name)) for name, value in rename(state, rules).items()}
    fill(block, state)
    return block.eval()


def _like(value: Tensor, ours: Tensor | None) -> Tensor:
    same = ours is not None and value.squeeze().shape == ours.squeeze().shape
    return value.reshape(ours.shape) if same else value
