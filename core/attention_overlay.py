"""Pictures of where a network looks: attention maps laid over the image, with a colour map and its legend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import numpy as np

from .figures import new_figure, save_figure

OPACITY = 0.5
PANEL = 2.9
"""Inches of one picture of a row."""
LETTERS = 16
"""Of a caption in an inch."""


def overlay(image: np.ndarray, attention: np.ndarray, low: float, high: float, colours: str = "turbo") -> np.ndarray:
    """Return an image with an attention map laid over it, uint8 (H, W, 3).

    Args:
        image: (C, H, W) in 0..1, C 1 or 3.
        attention: (h, w); it is enlarged to the image bilinearly.
        low: the attention that has the first colour.
        high: the attention that has the last colour.
        colours: a colour map of matplotlib.
    """
    import matplotlib
    import torch
    import torch.nn.functional as F

    size = image.shape[-2:]
    values = torch.from_numpy(np.ascontiguousarray(attention, dtype=np.float32))[None, None]
    values = F.interpolate(values, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()
    painted = matplotlib.colormaps[colours](((values - low) / max(high - low, 1e-12)).clip(0, 1))[..., :3]
    grey = np.broadcast_to(image.mean(axis=0), (3, *size)).transpose(1, 2, 0).clip(0, 1)
    return ((OPACITY * painted + (1 - OPACITY) * grey) * 255).round().astype(np.uint8)


class Panel(NamedTuple):
    """One picture of a row.

    Attributes:
        title: above it.
        image: (C, H, W) in 0..1, C 1 or 3.
        attention: (h, w), laid over the image; None for the image alone.
        ends: lowest and highest value of the colours; None for those of the map.
    """

    title: str
    image: np.ndarray
    attention: np.ndarray | None = None
    ends: tuple[float, float] | None = None


def draw_attention(
    image: np.ndarray,
    maps: Sequence[tuple[str, np.ndarray, tuple[float, float] | None]],
    path: Path,
    title: str = "",
    colours: str = "turbo",
    caption: str = "",
) -> None:
    """Draw an image and each map over it, side by side, each with the legend of its colours.

    Args:
        image: (C, H, W) in 0..1, C 1 or 3.
        maps: (title, map (h, w), (lowest, highest) value of the colours or None for those of the map).
        path: the PNG file to write.
        title: of the whole picture.
        colours: a colour map of matplotlib.
        caption: what is shown, below.
    """
    panels = [Panel("image", image), *(Panel(name, image, each, ends) for name, each, ends in maps)]
    draw_panels(panels, path, title, colours, caption)


def draw_panels(
    panels: Sequence[Panel], path: Path, title: str = "", colours: str = "turbo", caption: str = ""
) -> None:
    """Draw pictures side by side, those with a map with the legend of its colours.

    Args:
        panels: the pictures.
        path: the PNG file to write.
        title: of all.
        colours: a colour map of matplotlib.
        caption: what is shown, below.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    lines = wrap(caption, int(PANEL * len(panels) * LETTERS))
    tallest = max(each.image.shape[-2] / each.image.shape[-1] for each in panels)
    figure = new_figure(PANEL * len(panels), 2.5 * tallest + 0.9 + 0.16 * len(lines))
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(row, panels, strict=True):
        axes.set_title(panel.title, fontsize=10)
        axes.set_axis_off()
        if panel.attention is None:
            shown = np.broadcast_to(panel.image, (3, *panel.image.shape[-2:]))
            axes.imshow(shown.transpose(1, 2, 0).clip(0, 1))
            continue
        low, high = panel.ends or (float(panel.attention.min()), float(panel.attention.max()))
        axes.imshow(overlay(panel.image, panel.attention, low, high, colours))
        legend = ScalarMappable(Normalize(low, high if high > low else low + 1e-6), colours)
        bar = figure.colorbar(legend, ax=axes, orientation="horizontal", fraction=0.05, pad=0.02)
        bar.ax.tick_params(labelsize=7)
        bar.ax.locator_params(nbins=4)
    for axes in row:
        axes.set_anchor("N")  # pictures of several heights begin on one line; a legend had moved them
    figure.suptitle(title, fontsize=10)
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=8)
    save_figure(figure, path)
