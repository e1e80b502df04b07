"""Features of stained tissue made by hand: densities of the stains, their histograms, gradients and local patterns.

They need no weights, so the whole pipeline can be tried without a download. They see colour and fine texture and
nothing of what cells mean; take a trained encoder for results that matter.
"""

# N tiles, C channels, H W pixels, B bins

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAINS = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776))
"""Optical density of red, green and blue for haematoxylin, eosin and DAB (Ruifrok & Johnston 2001)."""
DARKEST = 1 / 255
BINS = 8
DENSEST = (1.2, 1.2)  # optical density of haematoxylin and eosin at the end of their histograms
NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # once around
PATTERNS = 10  # of 8 neighbours: 0 to 8 of them brighter in one run, and all else
FLAT = 0.02  # optical density; a neighbour that differs less is not brighter


class ColourTexture(nn.Module):
    """Colour and texture of a tile of any size, the same when it is turned or mirrored.

    All at half the tile's resolution, as noise and the codec's traces fill the finest. Red, green, blue and the
    densities of haematoxylin, eosin and a residue: means and deviations (12). Histograms of haematoxylin and eosin
    (16). There and at a quarter of the resolution: mean and deviation of the gradient's strength in haematoxylin and
    eosin (8), and how often each uniform pattern of eight neighbours occurs in haematoxylin (Ojala et al. 2002; 20).

    Shape: (N, 3, H, W) in 0..1, at least 12 x 12 -> (N, 56).
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("unmixing", torch.linalg.inv(F.normalize(torch.tensor(STAINS), dim=1)))
        self.register_buffer("pattern_of", _uniform_patterns())
        self.register_buffer("version", torch.tensor(1))  # so that the digest changes with the definition

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the features of tiles."""
        half = F.avg_pool2d(x_NCHW, 2)
        stains = F.conv2d(-torch.log10(half.clamp(min=DARKEST)), self.unmixing.mT[..., None, None]).contiguous()
        found = [*_moments(half), *_moments(stains)]
        found += [self._histogram(stains[:, index], densest) for index, densest in enumerate(DENSEST)]
        for each in (stains[:, :2], F.avg_pool2d(stains[:, :2], 2)):
            found += [*_moments(_gradient(each)), self._patterns(each[:, 0])]
        return torch.cat(found, dim=1)

    def _histogram(self, density_NHW: Tensor, densest: float) -> Tensor:
        """Return the share of each bin of a stain's density, (N, B); what lies beyond counts for the last ones."""
        bins = (density_NHW * (BINS / densest)).long().clamp(0, BINS - 1)
        return _shares(bins.flatten(1), BINS)

    def _patterns(self, x_NHW: Tensor) -> Tensor:
        """Return the share of each uniform pattern, (N, 10)."""
        height, width = x_NHW.shape[1:]
        limit = x_NHW[:, 1:-1, 1:-1] + FLAT
        code = torch.zeros_like(limit, dtype=torch.uint8)
        for bit, (down, right) in enumerate(NEIGHBOURS):
            neighbour = x_NHW[:, 1 + down : height - 1 + down, 1 + right : width - 1 + right]
            code |= (neighbour > limit).to(torch.uint8) << bit
        return _shares(code.flatten(1).long(), 256) @ self.pattern_of


def _moments(x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of each channel, (N, C)."""
    mean = x_NCHW.mean(dim=(2, 3), keepdim=True)
    return mean[..., 0, 0], (x_NCHW - mean).square().mean(dim=(2, 3)).sqrt()


def _gradient(x_NCHW: Tensor) -> Tensor:
    """Return how steep values are, by central differences, (N, C, H - 2, W - 2)."""
    down = x_NCHW[:, :, 2:, 1:-1] - x_NCHW[:, :, :-2, 1:-1]
    right = x_NCHW[:, :, 1:-1, 2:] - x_NCHW[:, :, 1:-1, :-2]
    return (down.square() + right.square()).sqrt() / 2


def _shares(bins: Tensor, count: int) -> Tensor:
    """Return how often each of `count` numbers occurs in each row, (N, M) -> (N, count) that sum to 1."""
    rows, length = bins.shape
    first = torch.arange(rows, device=bins.device)[:, None] * count
    counts = torch.bincount((bins + first).flatten(), minlength=rows * count)
    return counts.view(rows, count).float() / length


def _uniform_patterns() -> Tensor:
    """Return which pattern each of 256 codes is, float (256, 10), a one in each row."""
    pattern_of = torch.zeros(256, PATTERNS)
    for code in range(256):
        bits = [code >> bit & 1 for bit in range(8)]
        changes = sum(a != b for a, b in zip(bits, bits[1:] + bits[:1], strict=True))
        pattern_of[code, sum(bits) if changes <= 2 else PATTERNS - 1] = 1
    return pattern_of
