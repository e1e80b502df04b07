"""DANet's two attention modules."""

from collections.abc import Callable

from filled_block import filled
from parity import Case
from torch import Tensor, nn

from foveal.core.attention.channel_affinity import ChannelAffinityAttention
from foveal.core.attention.position import PositionAttention


def danet_position(case: Case) -> nn.Module:
    """DANet's position attention module."""
    dim = case.shapes["value_conv.weight"][0]
    block = PositionAttention(dim, reduction=dim // case.shapes["query_conv.weight"][0])
    return filled(block, case, [(r"^(query|key|value)_conv\.", r"\1.")])


def danet_channel(case: Case) -> nn.Module:
    """DANet's channel attention module."""
    return filled(ChannelAffinityAttention(), case)


BLOCKS: dict[str, Callable[[Case], Callable[..., Tensor]]] = {"danet_pam": danet_position, "danet_cam": danet_channel}
