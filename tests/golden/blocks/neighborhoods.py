"""Neighbourhood attention."""

from collections.abc import Callable

from filled_block import filled
from parity import Case
from torch import Tensor, nn

from foveal.core.attention.neighborhood import NeighborhoodAttention


def neighborhood(case: Case) -> nn.Module:
    """NATTEN's attention, over one to three axes."""
    config = case.meta["config"]
    block = NeighborhoodAttention(
        config["dim"],
        config["num_heads"],
        config["kernel_size"],
        config["dilation"],
        config["stride"],
        config["is_causal"],
        position_bias="rpb" in case.shapes,
        qkv_bias="qkv.bias" in case.shapes,
        pad_short=True,
    )
    return filled(block, case, [(r"^rpb$", "bias")])


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {"na": neighborhood}
