"""Convolutional networks of timm that give maps at an eighth, a sixteenth and a thirty-second of the image's size."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ...core.backbones import feature_network, open_residual_branches
from ...core.blocks.norm import use_own_norms
from ...core.weights.pretrained import fill_pretrained

STRIDES = (8, 16, 32)


def feature_encoder(name: str, in_channels: int = 3) -> nn.Module:
    """Build an encoder: (N, in_channels, H, W) -> the maps at H/8, H/16 and H/32, with timm's `feature_info`.

    Convolutions start from timm's Kaiming normal values and every norm as the identity.

    Args:
        name: a convolutional network of timm, such as "res2net50d" or "resnet18".
        in_channels: channels of the image.

    Raises:
        UserError: timm has no such network, or it has no such maps.
    """
    net = feature_network(name, in_channels, STRIDES)
    use_own_norms(net)  # not all networks take a norm to use
    open_residual_branches(net)
    return net


def load_encoder(encoder: nn.Module, name: str, in_channels: int, source: str | Path | None = None) -> None:
    """Replace the weights of an encoder.

    Args:
        encoder: from `feature_encoder`.
        name: its name in timm.
        in_channels: channels of the image.
        source: a file of weights by timm's names, such as the `res2net50_v1b_26w_4s` of Res2Net's authors; None for
            timm's ImageNet weights, which are downloaded once.

    Raises:
        UserError: the weights cannot be had, or do not fit.
    """
    fill_pretrained(encoder, "fc.", source, lambda: feature_network(name, in_channels, STRIDES, pretrained=True))
