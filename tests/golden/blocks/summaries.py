"""Attention that is linear in the tokens: through summaries, landmarks, agents or features."""

from collections.abc import Callable

import torch
from filled_block import filled_from
from parity import Case
from token_maps import channels_first, weights, with_residual
from torch import Tensor

from foveal.core.attention.efficient import EfficientAttention


def efficient(case: Case) -> Callable[[Tensor], Tensor]:
    """Efficient attention, which returns its input, too."""
    key_dim, dim = case.shapes["keys.weight"][:2]
    block = EfficientAttention(dim, case.meta["config"]["head_count"], key_dim, case.shapes["values.weight"][0])
    state = weights(case)
    for kind in ("weight", "bias"):
        state[f"qkv.{kind}"] = torch.cat([state.pop(f"{name}.{kind}") for name in ("queries", "keys", "values")])
    filled_from(block, state, [(r"^reprojection\.", "proj.")])
    return with_residual(channels_first(block))


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {
    "efficient": efficient,
}
