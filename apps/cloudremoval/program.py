"""What is computed of a window of all dates: the cloud-free image, and what was asked for beside it.

Shapes: N batch, T dates, B bands of each, h w pixels. Bands are reflectance, mostly 0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.inference.tta import variance_over_views, views_of
from ...core.weights.card import Card
from .composites import median_of_clear

SEAM = 4
"""Pixels from a cloud over which what is kept gives way to what is computed."""
DOUBT = 0.05
"""Reflectance; where views and dates together differ by so much, confidence is down to 1/e."""
UNCONFIRMED = 0.5
"""By this confidence is multiplied where no date is clear."""
CONFIDENCE = ("confidence", "disagreement of views", "distance to clear dates", "clear dates")
"""Confidence 0..1: exp(-(disagreement + distance) / 0.05), half of it where no date is clear. It ranks pixels, and is
no probability. The disagreement is that of mirrored and turned views of the input, the standard deviation in
reflectance (root of the mean variance of the bands); 0 where a date is kept. The distance is that from the median of
the clear dates, in reflectance, the mean over the bands; 0 where there is none. The last is the number of clear
dates."""

Network = Callable[[Tensor], Tensor]
"""(N, T, B, h, w) -> (N, bands of the output, h, w), both reflectance."""


@dataclass(frozen=True)
class Wanted:
    """What is computed beside the cloud-free image.

    Attributes:
        keep_clear: where the best date is clear, it is kept: whole numbers exactly, floats but for the rounding of the
            last bit where tiles overlap.
        clouds: the clouds of each date.
        confidence: how far the image is to be trusted.
    """

    keep_clear: bool = False
    clouds: bool = False
    confidence: bool = False


class CloudFree:
    """The program that the engine runs: a network, and what is computed beside.

    Args:
        network: see `Network`; of one date it takes (N, B, h, w).
        card: of the network.
        best: the date that is kept where it is clear.
        wanted: what is computed beside.
        tta: the image is the mean over mirrored and turned views.

    Attributes:
        card: what the program takes and gives: one channel more for each date, 1 where a pixel is cloud or counts for
            nothing and 0 elsewhere; the image, then the clouds of each date, then `CONFIDENCE`, as wanted.
    """

    def __init__(self, network: Network, card: Card, best: int, wanted: Wanted, tta: bool = False) -> None:
        self.network = network
        self.dates = card.dates
        self.picked = [card.channels.index(name) for name in card.outputs or card.channels]
        self.best = best
        self.wanted = wanted
        self.averaged = tta
        self.views = views_of(card) if tta or wanted.confidence else views_of(card)[:1]
        self.card = card_of_program(card, wanted)

    @property
    def image(self) -> slice:
        """Which channels are the image."""
        return slice(0, len(self.picked))

    @property
    def clouds(self) -> slice:
        """Which channels are the clouds of each date, where they are wanted."""
        return slice(len(self.picked), len(self.picked) + self.dates)

    @property
    def confidence(self) -> slice:
        """Which channels are `CONFIDENCE`, where it is wanted."""
        return slice(-len(CONFIDENCE), None)

    def __call__(self, x: Tensor) -> Tensor:
        """Return what was asked for, (N, channels, h, w), of (N, T * (B + 1), h, w)."""
        x = x.reshape(len(x), self.dates, -1, *x.shape[-2:])
        bands, clouds = x[:, :, :-1], x[:, :, -1]
        best = bands[:, self.best, self.picked]
        kept = kept_share(clouds[:, self.best]) if self.wanted.keep_clear else torch.zeros_like(best[:, :1])
        if (kept == 1).all():
            image, disagreement = best, torch.zeros_like(kept)
        else:
            image, disagreement = self._computed(bands)
            image = kept * best + (1 - kept) * image  # where the share is 1, exactly what is kept
        parts = [image]
        if self.wanted.clouds:
            parts.append(clouds)
        if self.wanted.confidence:
            parts.append(self._trust(image, (1 - kept) * disagreement, x))
        return torch.cat(parts, dim=1)

    def _computed(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's image and how far views disagree, (N, 1, h, w)."""
        seen = bands if self.dates > 1 else bands[:, 0]
        values = variance_over_views(self.network, seen, self.views, "none", self.averaged)
        return values[:, :-1], values[:, -1:].sqrt()

    def _trust(self, image: Tensor, disagreement: Tensor, x: Tensor) -> Tensor:
        """Return the bands of `CONFIDENCE`, (N, 4, h, w)."""
        clear = self.dates - x[:, :, -1].sum(dim=1, keepdim=True)
        is_clear = clear > 0
        median = median_of_clear(x)[:, self.picked]
        distance = (image - median).abs().mean(dim=1, keepdim=True) * is_clear
        confidence = torch.exp(-(disagreement + distance) / DOUBT) * torch.where(is_clear, 1.0, UNCONFIRMED)
        return torch.cat([confidence, disagreement, distance, clear], dim=1)


def card_of_program(card: Card, wanted: Wanted) -> Card:
    """Return the card of the program that is made of a network."""
    names = [*(card.outputs or card.channels)]
    if wanted.clouds:
        names += [f"cloud {date + 1}" for date in range(card.dates)]
    if wanted.confidence:
        names += CONFIDENCE
    return replace(card, channels=(*card.channels, "cloud"), outputs=tuple(names), mean=(), std=())


def kept_share(cloud: Tensor, seam: int = SEAM) -> Tensor:
    """Return how much of a date is kept: 0 on cloud, 1 where it is `seam` pixels away, and linear between.

    The distance is that of a king on a chessboard. Nothing is known of beyond the window, where no cloud is assumed.

    Args:
        cloud: (N, h, w), 1 on cloud and 0 elsewhere.
        seam: at least 1.

    Returns:
        (N, 1, h, w) in 0..1.
    """
    reached = [cloud[:, None]]
    for _ in range(seam - 1):
        reached.append(F.max_pool2d(reached[-1], 3, stride=1, padding=1))
    return 1 - torch.stack(reached).sum(dim=0) / seam
