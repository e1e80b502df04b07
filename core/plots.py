"""Pictures of a run: curves of its metrics and columns of sample images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .atomic import written_beside
from .figures import new_figure, plain_axes, save_figure
from .metrics_table import read_rows

Pictures = list[tuple[str, list[NDArray[np.uint8]]]]
"""Columns of pictures: a title and one (height, width, 3) image for each row."""

LEGEND_LINES = 8  # in one column of a legend
PANELS = 4  # of curves in a row
WIDTH, HEIGHT = 4.2, 3.2  # of a panel of curves, inches
LEFT, RIGHT, BELOW, ABOVE = 0.75, 0.15, 0.5, 0.35  # inches
NO_BASELINES = ("balanced_accuracy",)  # metrics of their own, though another metric's name ends theirs
COLOURS = {"train": "#9aa5b1", "val": "#d9480f", "test": "#2b6cb0"}


def draw_curves(table: Path, path: Path) -> None:
    """Draw every metric of a metrics table over the optimizer steps, one panel for each name after the stage.

    A metric `<method>_<metric>` beside `<metric>` is a baseline and is drawn dashed in the same panel, and
    `<metric>_<class>` is that of one class and is drawn thin there.

    Args:
        table: CSV file with a column `step` and columns such as `train/loss`, `val/loss`, `val/psnr`.
        path: the PNG file to write; none is written where nothing was logged.
    """
    columns, rows = read_rows(table)
    panels = panels_of(columns)
    if not panels:
        return
    across = min(len(panels), PANELS)
    down = -(-len(panels) // across)
    figure = new_figure(WIDTH * across, HEIGHT * down, layout="none")
    grid = figure.subplots(down, across, squeeze=False, gridspec_kw=_margins(across, down)).ravel()
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes, (name, members) in zip(grid, panels.items(), strict=False):
        for column in members:
            points = [(float(row["step"]), float(row[column])) for row in rows if row[column]]
            stage, _, metric = column.rpartition("/")
            dotted = "." if len(points) < 30 else ""
            if metric.startswith(f"{name}_"):
                axes.plot(*zip(*points, strict=True), label=metric.removeprefix(f"{name}_"), linewidth=0.7)
                continue
            style = dotted + "-" if metric == name else "--"
            label = (stage or name) if metric == name else metric.removesuffix(f"_{name}")
            axes.plot(*zip(*points, strict=True), style, color=COLOURS.get(stage), label=label, linewidth=1.4)
        axes.set(title=name, xlabel="step")
        plain_axes(axes)
        axes.locator_params(nbins=5)
        if len(members) > 1:
            axes.legend(frameon=False, fontsize="small", ncols=-(-len(members) // LEGEND_LINES))
    save_figure(figure, path)


def panels_of(columns: Sequence[str]) -> dict[str, list[str]]:
    """Return {metric: the columns of a metrics table that belong into its panel}: of stages, baselines and classes."""
    panels: dict[str, list[str]] = {}
    for column in columns:
        if column not in ("step", "epoch"):
            panels.setdefault(_panel(column, columns), []).append(column)
    return panels


def _margins(across: int, down: int) -> dict[str, float]:
    """Room for numbers and names around each panel; a layout that looks for it takes as long again as the drawing."""
    width, height = WIDTH * across, HEIGHT * down
    return {
        "left": LEFT / width,
        "right": 1 - RIGHT / width,
        "bottom": BELOW / height,
        "top": 1 - ABOVE / height,
        "wspace": (LEFT + RIGHT) / (WIDTH - LEFT - RIGHT),
        "hspace": (BELOW + ABOVE) / (HEIGHT - BELOW - ABOVE),
    }


def _panel(column: str, columns: Sequence[str]) -> str:
    """The metric in whose panel a column is drawn: the one that it is a baseline or a class of, else itself."""
    name, metrics = column.rpartition("/")[2], [each.rpartition("/")[2] for each in columns]
    if name in NO_BASELINES:
        return name
    return next((each for each in metrics if name.endswith(f"_{each}") or name.startswith(f"{each}_")), name)


def draw_columns(pictures: Pictures, path: Path, margin: int = 6, heading: int = 24) -> None:
    """Draw columns of images side by side under their titles.

    Pixels stay as they are: an image that is smaller than the largest of its row is enlarged by repeating pixels.

    Args:
        pictures: columns, each of a title and as many images as there are rows.
        path: the PNG file to write.
        margin: pixels between the images.
        heading: pixels for the titles.
    """
    from PIL import Image, ImageDraw, ImageFont

    rows = list(zip(*(images for _, images in pictures), strict=True))
    heights = [max(len(image) for image in row) for row in rows]
    tiles = [[_enlarged(image, height) for image in row] for row, height in zip(rows, heights, strict=True)]
    font = ImageFont.load_default(14)
    titles = [math.ceil(font.getlength(title)) for title, _ in pictures]
    widths = [max(title, *(row[column].shape[1] for row in tiles)) for column, title in enumerate(titles)]
    lefts = np.cumsum([margin, *(width + margin for width in widths)])
    tops = np.cumsum([heading, *(height + margin for height in heights)])
    sheet = Image.new("RGB", (int(lefts[-1]), int(tops[-1])), "white")
    pen = ImageDraw.Draw(sheet)
    for column, (title, _) in enumerate(pictures):
        pen.text((int(lefts[column]), 3), title, "black", font)
        for row, tile in enumerate(tiles):
            sheet.paste(Image.fromarray(tile[column]), (int(lefts[column]), int(tops[row])))
    with written_beside(path) as part:
        sheet.save(part)


def _enlarged(image: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """Repeat every pixel as often as fits into `height`."""
    times = max(height // len(image), 1)
    return image.repeat(times, 0).repeat(times, 1)
