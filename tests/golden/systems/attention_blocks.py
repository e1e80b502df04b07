"""Attention blocks of the core, one variant for each published block."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from differentiate import run
from group_block import group_block
from parity import Case
from torch import Tensor, nn

from foveal.core.attention.channel_affinity import ChannelAffinityAttention
from foveal.core.attention.gate import AttentionGate
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
    block = build(case)
    return run(block, case.inputs) | maps(block, case)


def maps(block: Callable[..., Tensor], case: Case) -> dict[str, np.ndarray]:
    """Return the attention map of a block that shows one."""
    if not isinstance(block, AttentionGate):
        return {}
    with torch.inference_mode():
        return {"attention": block.weights(*map(torch.from_numpy, case.inputs)).numpy()}


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


def attention_gate(case: Case) -> nn.Module:
    """The gate of Attention U-Net."""
    config = case.meta["config"]
    block = AttentionGate(
        config["in_channels"],
        config["gating_channels"],
        case.shapes["phi.weight"][0],
        stride=case.shapes["theta.weight"][2:],
        norm=False,
        projected=True,
        spread=config.get("mode") == "concatenation_residual",
        spatial_dims=case.inputs[0].ndim - 2,
    )
    rules = [(r"^theta\.", "of_map.0."), (r"^phi\.", "of_gate.0."), (r"^psi\.", "score.0."), (r"^W\.", "project.")]
    return filled(block, case, rules)


def monai_gate(case: Case) -> Callable[..., Tensor]:
    """MONAI's attention block, which takes the gating signal first."""
    config = case.meta["config"]
    block = AttentionGate(config["f_l"], config["f_g"], config["f_int"], spatial_dims=config["spatial_dims"])
    names = {"W_x": "of_map", "W_g": "of_gate", "psi": "score"}
    rules = [(rf"^{theirs}\.(\d)\.(?:conv\.)?", rf"{ours}.\1.") for theirs, ours in names.items()]
    filled(block, case, rules)
    return lambda gate, x: block(x, gate)


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {
    "danet_pam": danet_position,
    "danet_cam": danet_channel,
    "dformer": group_block,
    "attention_gate": attention_gate,
    "attention_block_monai": monai_gate,
}
"""How to build the block of a variant, by what the variant's name begins with."""
