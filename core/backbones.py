"""Convolutional networks of timm as parts of other networks."""

from __future__ import annotations

from collections.abc import Sequence

import timm
from torch import nn

from .errors import UserError
from .messages import suggestion


def check_name(name: str) -> None:
    """Refuse a name that timm does not have.

    Raises:
        UserError: there is no such network; a near name is suggested.
    """
    if name.partition(".")[0] not in timm.list_models():
        raise UserError(f"timm has no network {name!r}{suggestion(name, timm.list_models())}")


def feature_network(name: str, in_channels: int, strides: Sequence[int], pretrained: bool = False) -> nn.Module:
    """Return a network (N, in_channels, H, W) -> maps (N, C, h, w), one for each stride, with timm's `feature_info`.

    Args:
        name: a convolutional network of timm, such as "resnet18".
        in_channels: channels of the image.
        strides: pixels of the image from one position of a map to the next, for the coarsest maps that timm gives.
        pretrained: download its published weights.

    Raises:
        UserError: timm has no such network, or it gives no such maps.
    """
    check_name(name)
    levels = tuple(range(-len(strides), 0))
    options = {"features_only": True, "out_indices": levels, "in_chans": in_channels}
    try:
        net = timm.create_model(name, pretrained=pretrained, **options)
    except (AttributeError, RuntimeError, AssertionError, IndexError) as error:  # timm's ways to say that it has none
        raise UserError(f"timm's {name!r} gives no maps of features ({error}); take a ResNet of timm") from error
    found = net.feature_info.reduction()
    if list(found) != list(strides) or not str(getattr(net, "output_fmt", "NCHW")).endswith("NCHW"):
        raise UserError(
            f"timm's {name!r} gives maps at strides {found}, or channels last, where {list(strides)} are needed; "
            "take a ResNet of timm"
        )
    return net


def open_residual_branches(module: nn.Module) -> None:
    """Set the weights of batch norms to 1, as torchvision does; timm lets residual branches begin at 0."""
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.ones_(each.weight)
