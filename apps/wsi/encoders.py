"""Encoders of tiles: networks of timm with their published weights or a file of weights, and one made by hand."""

# N tiles, C channels, H W pixels, D features

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from ...core.errors import UserError
from ...core.messages import suggestion
from ...core.weights.adapters import fill
from ...core.weights.hub import hub_or_cache
from ...core.weights.pretrained import read_state
from .colour_texture import ColourTexture

COLOUR_TEXTURE = "colour-texture"
PREFIXES = ("backbone.", "encoder.", "model.", "student.", "teacher.")
"""What the names of an encoder's weights begin with where it was saved within something larger."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """A frozen network that describes tiles.

    Attributes:
        name: "colour-texture", or as timm knows it.
        module: (N, 3, H, W), normalised -> (N, D).
        dim: D.
        mean: of red, green and blue in 0..1, subtracted from each.
        std: by which each is divided then.
        size: (H, W) to which tiles are resized; None takes them as they are.
        interpolation: "bilinear" or "bicubic", antialiased.
        digest: SHA-256 of the weights' names and values, 64 hexadecimal digits.
    """

    name: str
    module: nn.Module
    dim: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None
    interpolation: str
    digest: str

    def __call__(self, tiles_NHWC: Tensor) -> Tensor:
        """Return the features (N, D) of tiles in 8 bits, uint8 (N, H, W, 3), on the device of the module."""
        x_NCHW = tiles_NHWC.permute(0, 3, 1, 2).float() / 255
        if self.size and x_NCHW.shape[2:] != self.size:
            x_NCHW = F.interpolate(x_NCHW, self.size, mode=self.interpolation, antialias=True).clamp(0, 1)
        mean, std = (x_NCHW.new_tensor(each).view(1, 3, 1, 1) for each in (self.mean, self.std))
        return self.module((x_NCHW - mean) / std)


def open_encoder(name: str, weights: Path | None = None) -> Encoder:
    """Return an encoder, on the CPU.

    Args:
        name: "colour-texture"; a network of timm, such as "resnet50" or "vit_small_patch16_224.dino"; one of the hub,
            such as "hf-hub:MahmoodLab/UNI"; or a folder with its config and weights, "local-dir:FOLDER". What follows
            a dot chooses weights, and with them the mean and deviation that they were trained with.
        weights: a file of weights by timm's names; None for the published ones, which are downloaded once.

    Raises:
        UserError: there is no such encoder, or its weights cannot be had, or do not fit.
    """
    if name == COLOUR_TEXTURE:
        if weights:
            raise UserError(f"--encoder_weights {weights}: {name} is made by hand and has none; leave it out.")
        return _frozen(name, ColourTexture(), (0.0,) * 3, (1.0,) * 3, None, "bilinear")
    module = _filled(name, weights) if weights else _published(name)
    facts = resolve_model_data_config(module)
    interpolation = facts["interpolation"] if facts["interpolation"] in ("bilinear", "bicubic") else "bilinear"
    return _frozen(name, module, facts["mean"], facts["std"], tuple(facts["input_size"][1:]), interpolation)


def _frozen(
    name: str,
    module: nn.Module,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    size: tuple[int, int] | None,
    interpolation: str,
) -> Encoder:
    module.eval().requires_grad_(False)
    with torch.inference_mode():
        found = module(torch.zeros(1, 3, *(size or (64, 64))))
    if found.ndim != 2:
        raise UserError(f"--encoder {name}: gives {found.ndim} axes, not one row of features; take another encoder.")
    return Encoder(name, module, found.shape[1], tuple(mean), tuple(std), size, interpolation, _digest(module))


def _digest(module: nn.Module) -> str:
    found = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _published(name: str) -> nn.Module:
    """Build a network of timm with its published weights."""
    if ":" not in name:
        _check_name(name)
    try:
        with nullcontext() if name.startswith("local-dir:") else hub_or_cache():
            return timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # whatever the network, the hub or the disk did
        raise UserError(
            f"--encoder {name}: its weights cannot be had from {_place(name)} ({_short(error)}); get the file where "
            f"there is a network and give it by --encoder_weights FILE, or take --encoder {COLOUR_TEXTURE}."
        ) from error


def _filled(name: str, weights: Path) -> nn.Module:
    """Build a network of timm with weights from a file."""
    if ":" not in name:
        _check_name(name)
    state = _without_prefix(read_state(weights))
    options: dict[str, Any] = {"init_values": 1e-5} if any(".ls1.gamma" in each for each in state) else {}
    try:
        with hub_or_cache() if name.startswith("hf-hub:") else nullcontext():
            module = timm.create_model(name, pretrained=False, num_classes=0, **options)
    except Exception as error:  # as above; and whatever a network says to an option that it does not take
        raise UserError(
            f"--encoder {name}: cannot be built ({_short(error)}); give a network's name in timm."
        ) from error
    try:
        fill(module, _without_head(state, module))
    except UserError as error:
        raise UserError(f"--encoder_weights {weights}: {error} Give --encoder the network that they are of.") from None
    return module


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            return {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _without_head(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return weights without those of the classifier, which the module does not have."""
    names = module.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{each}." for each in ([names] if isinstance(names, str) else names))
    return {name: value for name, value in state.items() if not name.startswith(heads)}


def _check_name(name: str) -> None:
    network, _, tag = name.partition(".")
    if network not in timm.list_models():
        raise UserError(
            f"--encoder {name}: timm has no such network{suggestion(name, [*timm.list_models(), COLOUR_TEXTURE])}"
        )
    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{network}.*")]
    if tag and tag not in tags:
        raise UserError(f"--encoder {name}: timm has no such weights of {network}{suggestion(tag, tags)}")


def _place(name: str) -> str:
    """Say where weights were looked for."""
    if ":" in name:
        return name.partition(":")[2]
    facts = timm.get_pretrained_cfg(name)
    return (facts and (facts.hf_hub_id or facts.url)) or "timm, which has none"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
