"""Pictures of where a network looked at an image: what `infer --explain` of the apps writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention.reverse import ReverseAttention
from .attention_overlay import draw_attention
from .errors import UserError
from .explain.maps import contributions, gate_maps, modules_with, written_out
from .inference.prepared import normalised
from .weights.card import Card

LONGEST = 256
"""Pixels of the longest side of what is explained; the attention of all positions to all others grows with its fourth
power."""
WARNING = "Attention shows where information was taken from; it is no proof of the reasons of a result."

Shown = tuple[str, np.ndarray, tuple[float, float] | None]


class Explainer:
    """Draws where a segmentation network of this package's attention blocks looks.

    Where the network has gates over positions, these are shown. Else it is how much each position is looked at by all
    others, and its relevance for what was marked; both are means over all blocks.

    Args:
        network: (N, C, H, W), normalised as its card says -> logits (N, K, H, W).
        card: of the network.
        device: where it is.

    Raises:
        UserError: it is an exported program, or has neither gates nor attention between positions.
    """

    def __init__(self, network: object, card: Card, device: torch.device) -> None:
        if not isinstance(network, nn.Module):
            raise UserError(f"--explain: {card.name} is an exported program; give its checkpoint.")
        self.has_gates = bool(modules_with("position_gate", network))
        if not self.has_gates and not modules_with("with_weights", network):
            raise UserError(f"--explain: {card.name} has no attention to show; leave it out.")
        self.network, self.card, self.device = network, card, device

    def draw(self, image: np.ndarray, path: Path, title: str) -> None:
        """Draw what is shown of an image.

        Args:
            image: (C, H, W), float32 in the range of the card.
            path: the PNG file to write.
            title: of the picture.
        """
        low, high = self.card.value_range
        seen = self._seen(torch.from_numpy(image)[None].to(self.device))
        maps, caption = self._gates(seen) if self.has_gates else self._attention(seen)
        size = " x ".join(map(str, seen.shape[2:]))
        shown = ((seen[0].cpu().numpy() - low) / (high - low)).clip(0, 1)
        shown = shown if len(shown) in (1, 3) else shown[:1]
        draw_attention(shown, maps, path, title, caption=f"{caption} The network saw {size} pixels. {WARNING}")

    def _seen(self, x: Tensor) -> Tensor:
        """Return an image at the card's frame, or of a size that the network takes, at most about `LONGEST` pixels."""
        multiples = self.card.per_axis("size_multiple")
        shrink = min(1.0, LONGEST / max(x.shape[2:]))
        sizes = zip(x.shape[2:], multiples, strict=True)
        least = self.card.smallest_size
        fitting = [max(round(size * shrink / each), -(-least // each), 1) * each for size, each in sizes]
        size = list(self.card.frame) or fitting
        return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)

    def _gates(self, seen: Tensor) -> tuple[list[Shown], str]:
        found = gate_maps(self.network, normalised(seen, self.card))
        maps = [(name.replace("_", " "), each[0, 0].float().cpu().numpy(), (0.0, 1.0)) for name, each in found.items()]
        caption = "Gates: the share of each position's features that passes, 0 to 1."
        if any(isinstance(each, ReverseAttention) for each in self.network.modules()):
            caption += " Reverse attention lets pass what was not marked before, to mark the rest of it."
        return maps, caption

    def _attention(self, seen: Tensor) -> tuple[list[Shown], str]:
        x = normalised(seen, self.card).detach().requires_grad_()
        with torch.enable_grad(), written_out(self.network) as found:
            exclusive = self.card.activation not in ("sigmoid", "threshold")
            value = marked_score(self.network(x), exclusive)
        relevance = contributions(found, value)
        looked, relevant = [], []
        for name, parts in found.items():
            grid = parts[0].grid
            weights = torch.cat([each.over_map(each.weights.detach().mean(1, keepdim=True)) for each in parts], 1)
            looked.append(weights.mean(1).sum(1).view(1, 1, *grid))
            relevant.append(relevance[name].sum(1).view(1, 1, *grid))
        maps: list[Shown] = [
            ("attention", mean_map(looked), None),
            ("relevance", of_largest(mean_map(relevant)), (0.0, 1.0)),
        ]
        names = ", ".join(each.name for each in self.card.labels if each.value) or "what was marked"
        return maps, (
            f"Mean of {len(found)} attention blocks. Attention: how much a position is looked at by all, 1 where all "
            f"are alike. Relevance: (gradient x attention)+ for {names} where it was marked, "
            "as a share of the largest."
        )


def marked_score(logits: Tensor, exclusive: bool = True) -> Tensor:
    """Return how sure a segmentation is of what it marks: the mean of the scores there; of all where nothing is marked.

    Args:
        logits: (N, K, *spatial).
        exclusive: the first class is background, from which the others must stand out.
    """
    score = logits[:, 1:].amax(1) - logits[:, 0] if exclusive else logits.amax(1)
    is_marked = score > 0
    return score[is_marked].mean() if is_marked.any() else score.mean()


def mean_map(maps: Sequence[Tensor]) -> np.ndarray:
    """Return the mean of maps (1, 1, h, w), at the size of the largest."""
    largest = max((each.shape[2:] for each in maps), key=lambda size: size.numel())
    resized = [F.interpolate(each.float(), largest, mode="bilinear", align_corners=False) for each in maps]
    return torch.cat(resized).mean(0)[0].cpu().numpy()


def of_largest(values: np.ndarray) -> np.ndarray:
    """Return values of at least 0 as shares of the largest."""
    return values / max(float(values.max()), np.finfo(np.float32).tiny)
