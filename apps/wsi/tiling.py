"""Tiles over the tissue of a slide: where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.errors import UserError
from ...data.io.slide import SlideSource
from .slides import found_tissue, slide_name


@dataclass(frozen=True, eq=False)
class Tiles:
    """Square tiles of a slide.

    Attributes:
        slide: its name.
        coords: x and y of the upper left corners in pixels of the finest level, int64 (N, 2).
        size: pixels along a side as they are read.
        size0: pixels of the finest level along a side.
        mpp: micrometres per pixel as they are read.
        level0_mpp: micrometres per pixel of the finest level.
        level0_shape: (H, W) of the finest level.
    """

    slide: str
    coords: np.ndarray
    size: int
    size0: int
    mpp: float
    level0_mpp: float
    level0_shape: tuple[int, int]


def check_tiling(mpp: float, size: int, step: int | None, min_tissue: float) -> None:
    """Refuse options that no slide could be tiled with.

    Raises:
        UserError: names the option.
    """
    if not (np.isfinite(mpp) and mpp > 0):
        raise UserError(f"--mpp {mpp}: give micrometres per pixel, a number above 0, such as 0.5.")
    if size < 1:
        raise UserError(f"--size {size}: give at least 1 pixel.")
    if step is not None and step < 1:
        raise UserError(f"--step {step}: give at least 1 pixel.")
    if not 0 <= min_tissue <= 1:
        raise UserError(f"--min_tissue {min_tissue}: give a share from 0 to 1.")


def plan_tiles(
    source: SlideSource,
    size: int = 256,
    step: int | None = None,
    min_tissue: float = 0.25,
    tissue: np.ndarray | None = None,
) -> Tiles:
    """Return the tiles that hold enough tissue, row by row.

    They lie on one grid, which begins at the upper left corner of all tissue. CLAM begins one at each piece of tissue,
    so that tiles of neighbouring pieces overlap there; for a single piece the grids are the same. No tile leaves the
    slide.

    Args:
        source: the slide, read at the resolution at which tiles are seen.
        size: pixels along a side at that resolution.
        step: pixels from one tile to the next; None for `size`.
        min_tissue: share of a tile that must be tissue, 0 (any) to 1.
        tissue: where tissue is on the slide's overview, bool (h, w), somewhere at least; None to find it.

    Raises:
        UserError: no tissue is found, tiles are larger than the slide, or none holds enough tissue.
    """
    mask = found_tissue(source) if tissue is None else tissue
    shape, geometry = source.shape[1:], source.geometry
    if size > min(shape):
        raise UserError(
            f"{source.path}: tiles of {size} pixels at {geometry.mpp:g} µm/pixel are larger than the slide, which is "
            f"{shape[1]} x {shape[0]} there; give a smaller --size or --mpp."
        )
    rows, columns = (_starts(mask.any(axis=1 - axis), length, size, step or size) for axis, length in enumerate(shape))
    shares = tissue_shares(mask, shape, rows, columns, size)
    kept = (shares >= min_tissue) & (shares > 0)
    if not kept.any():
        raise UserError(
            f"{source.path}: of {kept.size} tiles of {size} pixels at {geometry.mpp:g} µm/pixel none has "
            f"{min_tissue:.0%} tissue or more; give a smaller --min_tissue or --size."
        )
    row, column = np.nonzero(kept)
    coords = np.stack([columns[column], rows[row]], axis=1) * geometry.downsample
    return Tiles(
        slide_name(source.path),
        coords.round().astype(np.int64),
        size,
        round(size * geometry.downsample),
        geometry.mpp,
        geometry.level0_mpp,
        geometry.level0_shape,
    )


def tissue_shares(
    mask: np.ndarray, shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray, size: int
) -> np.ndarray:
    """Return which share of the tiles of a grid is tissue, to fractions of the mask's pixels, (rows, columns).

    Args:
        mask: where tissue is, bool (h, w).
        shape: (H, W) of the slide at the tiles' resolution, over which the mask is laid.
        rows: where the rows of tiles begin.
        columns: where the columns of tiles begin.
        size: pixels along a side of a tile.
    """
    covered = np.pad(mask.cumsum(axis=0, dtype=np.float64).cumsum(axis=1), ((1, 0), (1, 0)))  # from the corner to here
    for axis, (starts, length) in enumerate(zip((rows, columns), shape, strict=True)):
        scale = mask.shape[axis] / length
        ends = _between(covered, (starts + size) * scale, axis)
        covered = (ends - _between(covered, starts * scale, axis)) / (size * scale)
    return covered.clip(0, 1)


def _between(values: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Return the values at fractional places along an axis, interpolated linearly."""
    low = np.floor(places).astype(np.int64).clip(0, values.shape[axis] - 2)
    share = np.expand_dims(places - low, 1 - axis)
    return values.take(low, axis) * (1 - share) + values.take(low + 1, axis) * share


def _starts(tissue: np.ndarray, length: int, size: int, step: int) -> np.ndarray:
    """Return where tiles begin along an axis: from where tissue begins to where it ends.

    Args:
        tissue: whether there is any at each place of the mask.
        length: pixels of the slide.
        size: of a tile.
        step: to the next one.
    """
    places = np.flatnonzero(tissue)
    scale = length / len(tissue)
    begin, end = int(places[0] * scale), int((places[-1] + 1) * scale)
    last = length - size  # where a tile can begin
    return np.arange(min(begin, last), min(end, last + 1), step)
