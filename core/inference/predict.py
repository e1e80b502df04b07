"""`foveal.predict`: a network on one image, from Python."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..blocks.resampling import bicubic_resize
from ..errors import UserError
from ..weights.card import Card
from ..weights.load import load_program
from .device import Precision, find_device
from .engine import Engine, Program, Tile


def predict(
    model: str | Path | Program,
    image: str | Path | np.ndarray,
    tile: Tile = "auto",
    overlap: int | None = None,
    device: str | None = None,
    precision: Precision = "float32",
    tta: bool = False,
) -> np.ndarray:
    """Return what a network makes of an image.

    Args:
        model: what `load_model` gave, an opened artefact, or what these are loaded from: a name or a path.
        image: an array (H, W), (H, W, 3), or with alpha as the last channel (H, W, 2) or (H, W, 4), of uint8, uint16
            or floats in 0..1; or the path of an image file, which is read with its alpha.
        tile: side of a tile in pixels; "auto" for the card's, "whole" for no tiles.
        overlap: pixels that neighbouring tiles share; None for the card's.
        device: where to compute; None for where the model is, and for the first GPU or the CPU if it is to be loaded.
        precision: what a network computes in.
        tta: average over flips and transposes.

    Returns:
        What the network's card asks for. An image has the dtype and layout of the given one; grey stays grey, and alpha
        is resized by bicubic interpolation. Labels of exclusive classes are whole numbers, (H, W, 1), those of
        independent ones 0 and 1, (H, W, classes), and probabilities float32, (H, W, classes), whatever the image is.

    Raises:
        UserError: the image, the model or an option does not fit.
    """
    if isinstance(model, (str, Path)):
        model = load_program(model, find_device(device or "auto"))
    engine = Engine(model, model.card, device or _device_of(model), precision, tile, overlap, tta)
    pixels = _read(image) if isinstance(image, (str, Path)) else np.asarray(image)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 2, 3, 4)):
        raise UserError(f"an image (H, W) or (H, W, channels) is needed, not an array of shape {pixels.shape}.")
    values = _to_unit(pixels if pixels.ndim == 3 else pixels[..., None])
    colours = values.shape[2] - (values.shape[2] in (2, 4))
    made = engine.array(_to_network(engine.card, values[..., :colours])).transpose(1, 2, 0)
    if engine.card.activation != "none":
        return made
    low, high = engine.card.value_range
    made = (made - low) / (high - low)
    parts = [made.mean(axis=2, keepdims=True) if colours == 1 else made]
    if colours < values.shape[2]:
        alpha = bicubic_resize(torch.from_numpy(values[..., colours].copy()), engine.card.scale)
        parts.append(alpha.clamp(0, 1).numpy()[..., None])
    result = _from_unit(np.concatenate(parts, axis=2), pixels.dtype)
    return result if pixels.ndim == 3 else result[..., 0]


def _device_of(model: Program) -> torch.device:
    parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device


def _read(path: str | Path) -> np.ndarray:
    """Read an image file as (H, W) or (H, W, C)."""
    images = import_module("...data.io.image", __package__)  # by name, as this package stands below the formats
    pixels = images.read_image(path, alpha=True).transpose(1, 2, 0)
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def _to_network(card: Card, values: np.ndarray) -> np.ndarray:
    """Return grey or RGB, (H, W, C) in 0..1, in the channels and value range of a card, float32 (C', H, W)."""
    wanted, (low, high) = len(card.channels), card.value_range
    if values.shape[2] not in (1, wanted):
        raise UserError(f"the image has {values.shape[2]} colour channels; the network takes {wanted}.")
    x = np.repeat(values, wanted // values.shape[2], axis=2).transpose(2, 0, 1) * (high - low) + low
    return np.ascontiguousarray(x, np.float32)


def _to_unit(pixels: np.ndarray) -> np.ndarray:
    """Return float32 values in 0..1."""
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    raise UserError(f"the image is of {pixels.dtype}; give uint8, uint16, or floats in 0..1.")


def _from_unit(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    values = values.clip(0, 1)
    if dtype.kind == "f":
        return values.astype(dtype)
    highest = np.iinfo(dtype).max
    return (values * np.float32(highest)).round().astype(dtype)
