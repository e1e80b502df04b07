"""The picture that shows what a program found: colours over the tissue, a legend and a scale bar."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from scipy import ndimage

from ....core.weights.card import Card
from ...geometry import SlideGeometry
from .classes import SlideClass, channels_of, classes_of, kind_of

LARGEST_WIDTH, LARGEST_HEIGHT = 1600, 1840  # pixels of the slide
SMALLEST = 640  # pixels along the longer side of the slide
MARGIN, PANEL, FOOT, HEAD = 30, 330, 80, 50  # pixels around it
DPI = 100
OPACITY = 0.5  # of classes
FAINTEST, STRONGEST = 0.2, 0.6  # opacity of the lowest and highest value
COLOURMAP = "turbo"
SMOOTHING = 1.5  # pixels, of the line at one half, which would follow noise
FRAME = (205, 205, 205)
ROUND_LENGTHS_UM = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


class Backdrop(Protocol):
    """What outputs are laid over: a slide, or a grid of its own over one.

    Attributes:
        path: the slide's file.
        geometry: where samples of outputs lie.
        overview: the slide at low resolution, uint8 (h, w, 3).
        overview_mpp: micrometres per pixel of it.
        tissue_overview: where there is something to be shown, bool, over the whole slide at any resolution.
    """

    path: Path
    geometry: SlideGeometry
    overview: np.ndarray
    overview_mpp: float
    tissue_overview: np.ndarray

    def tissue(self, window: tuple[slice, ...], scale: int = 1) -> np.ndarray:
        """Return where there is something to be written in a window of outputs `scale` times as fine, bool (h, w)."""
        ...


def draw_preview(
    path: Path, source: Backdrop, card: Card, grid: np.ndarray, step: float, reach: float = -np.inf
) -> None:
    """Draw the picture.

    Args:
        path: the PNG file.
        source: the slide.
        card: says what the grid holds.
        grid: labels, or values (probabilities and pictures in 0..1), (C, h, w).
        step: pixels of the slide's finest level per pixel of the grid.
        reach: the scale of values ends no lower, so that even values do not look extreme.
    """
    slide, tissue, scale = _shown(source)
    height, width = tissue.shape
    found = grid[:, *np.ix_(*(_places(n, scale, step, m) for n, m in zip(tissue.shape, grid.shape[1:], strict=True)))]
    canvas = (2 * MARGIN + width + PANEL, HEAD + height + FOOT)
    figure = Figure(figsize=(canvas[0] / DPI, canvas[1] / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    picture, legend = _picture(slide, tissue, found, card, reach)
    figure.figimage(_framed(picture), MARGIN, FOOT, origin="upper")
    page = _Page(figure, canvas)
    title = textwrap.shorten(f"{source.path.name} · {card.name}", canvas[0] // 11, placeholder=" …")
    page.text(MARGIN, canvas[1] - HEAD // 2, title, weight="bold")
    _draw_scale_bar(page, width, source.geometry.level0_mpp * scale)
    legend(page, 2 * MARGIN + width, FOOT, height)
    figure.savefig(path, format="png", metadata={"Software": None})


class _Page:
    """A figure on which things are placed in pixels from its lower left corner."""

    def __init__(self, figure: Figure, canvas: tuple[int, int]) -> None:
        self.figure = figure
        self.width, self.height = canvas

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        return self.figure.add_axes((left / self.width, bottom / self.height, width / self.width, height / self.height))

    def box(self, left: float, bottom: float, width: float, height: float, **style: object) -> Rectangle:
        corner = (left / self.width, bottom / self.height)
        transform = self.figure.transFigure
        return Rectangle(corner, width / self.width, height / self.height, transform=transform, **style)

    def text(self, left: float, middle: float, text: str, **style: object) -> None:
        self.figure.text(left / self.width, middle / self.height, text, size=13, va="center", parse_math=False, **style)


Legend = Callable[[_Page, int, int, int], None]
"""Draws what the colours mean; given the left and lower edge and the height of its place, in pixels."""


def _shown(source: Backdrop) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the slide and its tissue in the size of the picture, and pixels of the finest level per pixel of it."""
    overview = source.overview
    height, width = overview.shape[:2]
    factor = min(LARGEST_WIDTH / width, LARGEST_HEIGHT / height, max(1.0, SMALLEST / max(height, width)))
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    slide = np.asarray(Image.fromarray(overview).resize(size, Image.Resampling.LANCZOS if factor < 1 else 0))
    tissue = np.asarray(Image.fromarray(source.tissue_overview).resize(size, 0))
    return slide, tissue, source.overview_mpp / source.geometry.level0_mpp / factor


def _places(count: int, scale: float, step: float, size: int) -> np.ndarray:
    """Return which sample of the grid lies at each pixel of the picture along one axis."""
    return ((np.arange(count) + 0.5) * (scale / step)).astype(np.int64).clip(0, size - 1)


def _picture(
    slide: np.ndarray, tissue: np.ndarray, found: np.ndarray, card: Card, reach: float
) -> tuple[np.ndarray, Legend]:
    """Return the slide with colours over its tissue, uint8 (h, w, 3), and what draws the legend."""
    kind = kind_of(card)
    if kind == "picture":
        colours = np.moveaxis(found, 0, -1) * 255
        return _blended(slide, colours, tissue.astype(np.float32)), lambda *_: None
    if kind == "values":
        return _scaled(slide, tissue, found[0], channels_of(card)[0], reach=reach)
    classes = classes_of(card)
    if kind == "probabilities" and len(classes) == 1:
        return _scaled(slide, tissue, found[classes[0].channel], f"Probability of {classes[0].name}", (0.0, 1.0))
    return _classified(slide, tissue, found, classes, is_map=kind == "labels")


def _scaled(
    slide: np.ndarray,
    tissue: np.ndarray,
    values: np.ndarray,
    name: str,
    limits: tuple[float, float] | None = None,
    reach: float = -np.inf,
) -> tuple[np.ndarray, Legend]:
    """Show one value by a colour scale; where it is a probability, a line shows one half."""
    shown = values[tissue] if tissue.any() else values
    low, high = limits or (float(shown.min()), max(float(shown.max()), reach))
    norm = Normalize(low, high if high > low else low + 1, clip=True)
    scale = ScalarMappable(norm, COLOURMAP)
    opacity = FAINTEST + (STRONGEST - FAINTEST) * np.asarray(norm(values))
    picture = _blended(slide, scale.to_rgba(values)[..., :3] * 255, opacity * tissue)
    if limits:
        picture[_edges(ndimage.gaussian_filter(values, SMOOTHING) >= 0.5) & tissue] = 0
    return picture, partial(_draw_colour_bar, scale=scale, name=name, has_line=limits is not None)


def _classified(
    slide: np.ndarray, tissue: np.ndarray, found: np.ndarray, classes: list[SlideClass], is_map: bool
) -> tuple[np.ndarray, Legend]:
    """Show classes by their colours, the more strongly the more probable, and outline them."""
    picture, lines = slide, []
    strongest = found[[each.channel for each in classes]].max(axis=0)
    for each in classes:
        values = found[each.channel]
        inside = tissue & (values == each.value if is_map else values >= 0.5)
        share = inside if is_map else (tissue & (values == strongest)) * values
        picture = _blended(picture, np.array(each.colour), OPACITY * share)
        lines.append((_edges(inside), each.colour))
    for edge, colour in lines:
        picture[edge] = colour
    return picture, partial(_draw_classes, classes=classes, is_map=is_map)


def _blended(slide: np.ndarray, colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Lay colours, 0..255, over a slide, uint8 (h, w, 3), with an opacity of (h, w)."""
    share = opacity[..., None].astype(np.float32)
    return (slide * (1 - share) + colours * share).clip(0, 255).round().astype(np.uint8)


def _framed(picture: np.ndarray) -> np.ndarray:
    """Draw a line around a picture, (h, w, 3), as glass may be as white as the page."""
    picture = picture.copy()
    picture[[0, -1]] = FRAME
    picture[:, [0, -1]] = FRAME
    return picture


def _edges(mask: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of a mask."""
    return mask & ~ndimage.binary_erosion(mask, border_value=1)


def _draw_colour_bar(
    page: _Page, left: int, bottom: int, height: int, scale: ScalarMappable, name: str, has_line: bool
) -> None:
    tall = min(height - 40, 500)
    axes = page.axes(left, bottom + height - 40 - tall, 28, tall)
    bar = page.figure.colorbar(scale, cax=axes)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=12)
    if has_line:
        bar.ax.axhline(0.5, color="black", linewidth=1.5)
    page.text(left, bottom + height - 14, textwrap.shorten(name, 36, placeholder=" …"))


def _draw_classes(page: _Page, left: int, bottom: int, height: int, classes: list[SlideClass], is_map: bool) -> None:
    page.text(left, bottom + height - 14, "Class" if is_map else "Class (stronger: more probable)")
    shown = classes[: max((height - 40) // 30, 1)]
    for number, each in enumerate(shown, start=1):
        colour = tuple(part / 255 for part in each.colour)
        y = bottom + height - 24 - 30 * number
        page.figure.add_artist(page.box(left, y, 20, 20, facecolor=(*colour, OPACITY), edgecolor=colour))
        hidden = len(classes) - len(shown) if number == len(shown) else 0
        name = textwrap.shorten(each.name, 34, placeholder=" …")
        page.text(left + 30, y + 10, f"{name} and {hidden} more" if hidden else name)


def _draw_scale_bar(page: _Page, width: int, mpp: float) -> None:
    """Draw a bar of a round length below the slide, about a fifth of its width."""
    fitting = [length for length in ROUND_LENGTHS_UM if length <= max(width * mpp / 4, 1)]
    length = fitting[-1]
    page.figure.add_artist(page.box(MARGIN, 48, length / mpp, 7, facecolor="black", edgecolor="none"))
    page.text(MARGIN, 28, f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm")
