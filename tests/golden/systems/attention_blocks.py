"""Attention blocks of the core, one variant for each published block."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from differentiate import run
from group_block import group_block
from parity import Case
from torch import nn

from foveal.core.attention.channel_affinity import ChannelAffinityAttention
from foveal.core.attention.position import PositionAttention
from foveal.core.weights.adapters import fill, rename


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return the output of a block and its gradients.

    Raises:
        LookupError: no block is known for the variant.
    """
    variant = case.meta["variant"]
    build = next((build for prefix, build in BLOCKS.items() if variant.startswith(prefix)), None)
    if build is None:
        raise LookupError(f"no block computes the variant {variant!r}")
    return run(build(case), case.inputs)


def filled(block: nn.Module, case: Case, rules: Sequence[tuple[str, str]] = ()) -> nn.Module:
    """Return a block in float64 and evaluation mode with the case's weights, names rewritten by the rules."""
    state = {name: torch.from_numpy(value) for name, value in case.weights().items()}
    fill(block.double(), rename(state, rules))
    return block.eval()


def danet_position(case: Case) -> nn.Module:
    """DANet's position attention module."""
    dim = case.shapes["value_conv.weight"][0]
    block = PositionAttention(dim, reduction=dim // case.shapes["query_conv.weight"][0])
    return filled(block, case, [(r"^(query|key|value)_conv\.", r"\1.")])


def danet_channel(case: Case) -> nn.Module:
    """DANet's channel attention module."""
    return filled(ChannelAffinityAttention(), case)


BLOCKS: dict[str, Callable[[Case], nn.Module]] = {
    "danet_pam": danet_position,
    "danet_cam": danet_channel,
    "dformer": group_block,
}
"""How to build the block of a variant, by what the variant's name begins with."""
