"""Operations worth a fast form of their own: one folder each, needing torch alone, and Triton for the fastest.

    from foveal.kernels import neighborhood_attention, use_backend

takes any of them into another project.
"""

from .backend import use_backend
from .channel_attention import channel_scores, mix_channels
from .dynamic_conv import dynamic_conv2d, predicted_conv2d
from .gated_attention_pool import gated_attention_pool
from .linear import linear
from .neighborhood_attention import neighborhood_attention
from .position_attention import position_attention
from .window_attention import window_attention
from .window_attention.layout import WindowLayout

__all__ = [
    "WindowLayout",
    "channel_scores",
    "dynamic_conv2d",
    "gated_attention_pool",
    "linear",
    "mix_channels",
    "neighborhood_attention",
    "position_attention",
    "predicted_conv2d",
    "use_backend",
    "window_attention",
]
