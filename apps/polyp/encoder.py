"""Convolutional networks of timm that give maps at an eighth, a sixteenth and a thirty-second of the image's size."""

from __future__ import annotations

from pathlib import Path

import timm
from torch import Tensor, nn

from ...core.blocks.norm import BatchNorm2d
from ...core.errors import UserError
from ...core.messages import suggestion
from ...core.weights.adapters import fill, unwrap
from ...core.weights.files import file_format, read_checkpoint, read_safetensors

REDUCTIONS = (8, 16, 32)


def feature_encoder(name: str, in_channels: int = 3) -> nn.Module:
    """Build an encoder: (N, in_channels, H, W) -> the maps at H/8, H/16 and H/32, with timm's `feature_info`.

    Convolutions start from timm's Kaiming normal values and every norm as the identity.

    Args:
        name: a convolutional network of timm, such as "res2net50d" or "resnet18".
        in_channels: channels of the image.

    Raises:
        UserError: timm has no such network, or it has no such maps.
    """
    if name.partition(".")[0] not in timm.list_models():
        raise UserError(f"encoder: timm has no network {name!r}{suggestion(name, timm.list_models())}")
    try:
        net = timm.create_model(name, features_only=True, out_indices=(-3, -2, -1), in_chans=in_channels)
    except (AttributeError, RuntimeError, AssertionError, IndexError) as error:  # timm's ways to say that it has none
        raise UserError(f"encoder: {name} gives no maps of features ({error}); take a ResNet or Res2Net.") from error
    if tuple(net.feature_info.reduction()) != REDUCTIONS or not str(net.output_fmt).endswith("NCHW"):
        found = ", ".join(map(str, net.feature_info.reduction()))
        raise UserError(f"encoder: {name} gives maps at 1/{found}, not at 1/8, 1/16, 1/32; take a ResNet or Res2Net.")
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = BatchNorm2d  # the same parameters, right gradients; not all networks take a norm to use
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # timm closes residual branches at first, the paper's encoder does not
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
    state = _read(Path(source)) if source else _downloaded(name, in_channels)
    try:
        fill(encoder, {each: value for each, value in state.items() if not each.startswith("fc.")})
    except UserError as error:
        raise UserError(f"{source or name}: {error}") from None


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of encoder weights.")
    if file_format(path) == "safetensors":
        return unwrap(read_safetensors(path)[0])
    return unwrap(read_checkpoint(path))


def _downloaded(name: str, in_channels: int) -> dict[str, Tensor]:
    try:
        options = {"features_only": True, "out_indices": (-3, -2, -1), "in_chans": in_channels}
        return timm.create_model(name, pretrained=True, **options).state_dict()
    except Exception as error:  # whatever the network, the hub or the disk did
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"the ImageNet weights of {name} cannot be downloaded ({reason}). Give a file of weights, or start without."
        ) from error
