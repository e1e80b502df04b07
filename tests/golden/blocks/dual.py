"""DaViT's two kinds of blocks."""

from collections.abc import Callable

from filled_block import filled
from parity import Case
from torch import Tensor, nn

from foveal.core.attention.channel_groups import ChannelGroupAttention
from foveal.core.attention.window import WindowAttention
from foveal.core.blocks.positioned import PositionedBlock

RULES = [
    (r"^cpe(\d)\.proj\.", r"position\1."),
    (r"^attn\.", "mixer."),
    (r"^mlp\.fc1\.", "mlp.0."),
    (r"^mlp\.fc2\.", "mlp.3."),
]


def positioned(case: Case, mixer: nn.Module) -> nn.Module:
    """Return a mixer's block."""
    config = case.meta["config"]
    axes = case.inputs[0].ndim - 2
    block = PositionedBlock(mixer, config["dim"], config.get("mlp_ratio", 4.0), spatial_dims=axes)
    return filled(block, case, RULES)


def spatial(case: Case) -> nn.Module:
    """Attention inside windows without a bias; padding is attended to."""
    config = case.meta["config"]
    side, axes = config["window_size"], case.inputs[0].ndim - 2
    window = [side] * axes if isinstance(side, int) else side
    mixer = WindowAttention(
        config["dim"],
        config["num_heads"],
        window,
        position_bias=False,
        qkv_bias="attn.qkv.bias" in case.shapes,
        short_axis="pad",
    )
    return positioned(case, mixer)


def channel(case: Case) -> nn.Module:
    """Attention between channels."""
    config = case.meta["config"]
    mixer = ChannelGroupAttention(
        config["dim"],
        config["num_heads"],
        second=config.get("v2", False),
        by_positions=config.get("dynamic_scale", True),
        qkv_bias="attn.qkv.bias" in case.shapes,
    )
    return positioned(case, mixer)


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {"davit_spatial": spatial, "davit_channel": channel}
