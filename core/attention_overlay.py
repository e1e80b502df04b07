"""Pictures of where a network looks: attention maps laid over the image, with a colour map and its legend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .atomic import written_beside

OPACITY = 0.5


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


def draw_attention(
    image: np.ndarray,
    maps: Sequence[tuple[str, np.ndarray, tuple[float, float] | None]],
    path: Path,
    title: str = "",
    colours: str = "turbo",
) -> None:
    """Draw an image and each map over it, side by side, each with the legend of its colours.

    Args:
        image: (C, H, W) in 0..1, C 1 or 3.
        maps: (title, map (h, w), (lowest, highest) value of the colours or None for those of the map).
        path: the PNG file to write.
        title: of the whole picture.
        colours: a colour map of matplotlib.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure  # slow to import; Figure alone draws without a display

    height, width = image.shape[-2:]
    panels = 1 + len(maps)
    figure = Figure(figsize=(2.9 * panels, 2.5 * height / width + 0.9), layout="constrained", dpi=110)
    first, *others = figure.subplots(1, panels, squeeze=False)[0]
    first.imshow(np.broadcast_to(image, (3, height, width)).transpose(1, 2, 0).clip(0, 1))
    first.set_title("image", fontsize=10)
    for axes, (name, attention, ends) in zip(others, maps, strict=True):
        low, high = ends or (float(attention.min()), float(attention.max()))
        axes.imshow(overlay(image, attention, low, high, colours))
        axes.set_title(name, fontsize=10)
        legend = ScalarMappable(Normalize(low, high if high > low else low + 1e-6), colours)
        bar = figure.colorbar(legend, ax=axes, orientation="horizontal", fraction=0.05, pad=0.02)
        bar.ax.tick_params(labelsize=7)
        bar.ax.locator_params(nbins=4)
    for axes in (first, *others):
        axes.set_axis_off()
    figure.suptitle(title, fontsize=10)
    with written_beside(path) as part:
        figure.savefig(part, format="png")
