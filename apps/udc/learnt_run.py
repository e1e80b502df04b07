"""MPGNet on pictures of any size, with its noise drawn for each place of the picture. Arrays are (C, H, W)."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from ...core.inference.engine import Engine, Progress, Tile
from ...core.inference.streams import Sink, Source, Window
from ...core.weights.card import Card
from .attenuation import Attenuation
from .models.mpgnet import MPGNet
from .noise import CONSTANT, Draws

BLOCK = 64  # side of what is drawn at once, in pixels
BAND = 1024  # rows of a picture that the attenuation sees at once; a multiple of its stride
STRIDE = 64  # pixels of a feature of the attenuation; none sees as many beyond its first


def run_learnt(
    net: MPGNet,
    card: Card,
    source: Source,
    sink: Sink,
    seed: tuple[int, ...],
    progress: Progress | None = None,
    tile: Tile = "auto",
    device: str = "cpu",
) -> None:
    """Make a degraded picture of a clean one.

    The attenuation is told from the whole picture. Blur and noise see it tile by tile; where tiles overlap they are
    given the same draws, so that they join.

    Args:
        net: in evaluation mode.
        card: of the network.
        source: the clean picture, three channels in 0..1.
        sink: gets the degraded one.
        seed: of the noise.
        progress: is told of finished rows.
        tile: side of a tile in pixels; see `Engine`.
        device: where the network is.
    """
    draws = ("dependent", "independent", "rounding")
    channels = (*card.channels, *(f"{name}{i}" for name in draws for i in range(net.width)))
    card = replace(card, channels=channels, outputs=card.channels)
    constant = np.random.default_rng(seed).standard_normal((1, CONSTANT), np.float32)
    program = _Drawn(net, whole_gains(net.attenuation, source), torch.from_numpy(constant))
    engine = Engine(program.to(device_of(net)), card, device, tile=tile)
    engine.run(WithDraws(source, net.width, seed), sink, progress)


def whole_gains(attenuation: Attenuation, source: Source) -> Tensor:
    """Return the gains of a whole picture, (1, 3), reading it in bands of rows."""
    height, width = source.shape[1:]
    total, count = torch.zeros((), device=device_of(attenuation)), 0
    for top in range(0, height, BAND):
        before = min(top, STRIDE)
        rows = slice(top - before, min(top + BAND, height))
        band = torch.from_numpy(source.read((rows, slice(0, width))))[None].to(device_of(attenuation))
        with torch.inference_mode():
            features = attenuation.features(band)[:, :, before // STRIDE :]
        total = total + features.sum((2, 3), dtype=torch.float64)
        count += features[0, 0].numel()
    with torch.inference_mode():
        return attenuation.bound(attenuation.gain((total / count).float()))


class WithDraws:
    """A picture with the random numbers of MPGNet's noise as further channels.

    The numbers of each block of pixels follow from the seed and its place, whatever window is read.

    Args:
        source: the picture.
        width: channels of each of the three maps of numbers.
        seed: of the numbers.
    """

    spatial = 2
    geometry = None

    def __init__(self, source: Source, width: int, seed: tuple[int, ...]) -> None:
        self.source = source
        self.width = width
        self.seed = seed
        self.shape = (source.shape[0] + 3 * width, *source.shape[1:])

    def read(self, window: Window) -> np.ndarray:
        """Return a window, float32 (3 + 3 * width, h, w): colours, normal numbers, and twice uniform ones in 0..1."""
        return np.concatenate([self.source.read(window), self._draws(window)])

    def is_empty(self, window: Window) -> bool:
        """Return what the picture says."""
        return self.source.is_empty(window)

    def _draws(self, window: Window) -> np.ndarray:
        rows, columns = (range(each.start // BLOCK, -(-each.stop // BLOCK)) for each in window)
        drawn = np.empty((3 * self.width, len(rows) * BLOCK, len(columns) * BLOCK), np.float32)
        for row, column in product(rows, columns):
            top, left = (row - rows.start) * BLOCK, (column - columns.start) * BLOCK
            drawn[:, top : top + BLOCK, left : left + BLOCK] = self._block(row, column)
        inside = (
            slice(each.start - blocks.start * BLOCK, each.stop - blocks.start * BLOCK)
            for each, blocks in zip(window, (rows, columns), strict=True)
        )
        return drawn[:, *inside]

    def _block(self, row: int, column: int) -> np.ndarray:
        generator = np.random.default_rng([*self.seed, row, column])
        normal = generator.standard_normal((self.width, BLOCK, BLOCK), np.float32)
        return np.concatenate([normal, generator.random((2 * self.width, BLOCK, BLOCK), np.float32)])


class _Drawn(nn.Module):
    """MPGNet after its attenuation, with its draws as inputs, (N, 3 + 3 * width, H, W) -> (N, 3, H, W)."""

    def __init__(self, net: MPGNet, gains: Tensor, constant: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("gains", gains)
        self.register_buffer("constant", constant)

    def forward(self, x: Tensor) -> Tensor:
        """Return the degraded picture."""
        picture, *maps = x.split((3, *3 * (self.net.width,)), dim=1)
        draws = Draws(self.constant.expand(len(x), -1), *maps)
        return self.net.noise(self.net.blurred(picture, self.gains), draws)


def device_of(module: nn.Module) -> torch.device:
    """Return where a module's weights are."""
    return next(module.parameters()).device
