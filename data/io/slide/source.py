"""Whole-slide images: OpenSlide's formats, tiled TIFF, OME-TIFF and DICOM, at any resolution. Arrays are (3, H, W)."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path

import numpy as np

from ....core.errors import UserError
from ...geometry import SlideGeometry
from .grid import SAME, Grid, Pyramid
from .levels import open_levels
from .tissue import tissue_mask

logger = logging.getLogger(__name__)

SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".svslide", ".bif", ".vms", ".vmu", ".tif", ".tiff", ".dcm")
OVERVIEW = 2048  # pixels along the longer side at most
OVERVIEW_BAND = 64  # rows
FINEST = 0.25  # of the finest level's pixel; nothing is to be seen below
MOST_UNEQUAL = 0.02  # relative difference between height and width of a pixel

Range = tuple[float, float]
Window = tuple[slice, ...]


class SlideSource:
    """A whole-slide image, read in windows as float32 (3, h, w) at a wanted resolution.

    What the file leaves out or makes transparent is white. Memory does not grow with the slide.

    Args:
        path: the slide's file, or a folder with the DICOM files of one slide.
        mpp: wanted micrometres per pixel; None for those of the finest level. Levels within one percent of it are
            read as they are; otherwise the nearest finer level is averaged.
        slide_mpp: micrometres per pixel of the finest level, for files that do not tell.
        value_range: what black and white become.

    Attributes:
        shape: (3, H, W) at the wanted resolution.
        geometry: where these pixels lie on the finest level.

    Raises:
        UserError: the file is missing, damaged or no slide; its resolution is unknown; its pixels are not square; the
            wanted resolution is far beyond that of the slide.
    """

    spatial = 2
    dtype = np.dtype(np.uint8)
    channels = ("red", "green", "blue")

    def __init__(
        self,
        path: str | Path,
        mpp: float | None = None,
        slide_mpp: float | None = None,
        value_range: Range = (0.0, 1.0),
    ) -> None:
        self.path = Path(path)
        self.value_range = value_range
        for name, value in (("the wanted resolution", mpp), ("--slide_mpp", slide_mpp)):
            if value is not None and not (np.isfinite(value) and value > 0):
                raise UserError(f"{name} {value}: give micrometres per pixel, a number above 0.")
        self.levels = open_levels(self.path)
        try:
            self._pyramid = Pyramid(self.levels)
            level0_mpp = self._finest_mpp(slide_mpp)
            self._grid = Grid(self._pyramid, self._checked_downsample(mpp, level0_mpp))
        except BaseException:
            self.close()
            raise
        self.shape = (3, *self._grid.shape)
        level0_shape = self.levels.sizes[0]
        reading_mpp = level0_mpp * self._grid.downsample
        self.geometry = SlideGeometry(self._grid.shape, reading_mpp, level0_shape, level0_mpp)

    def read(self, window: Window) -> np.ndarray:
        """Return a window, float32 (3, h, w), in the value range.

        Raises:
            UserError: the file is damaged there.
        """
        rows, columns = window
        values = self._grid.read((rows.start, rows.stop), (columns.start, columns.stop))
        low, high = self.value_range
        values *= np.float32(1 / 255)
        return values if (low, high) == (0, 1) else values * np.float32(high - low) + np.float32(low)

    def pixels(self, window: Window) -> np.ndarray:
        """Return a window in 8 bits, uint8 (h, w, 3).

        Raises:
            UserError: the file is damaged there.
        """
        rows, columns = window
        return self._grid.pixels((rows.start, rows.stop), (columns.start, columns.stop))

    def strip(self, size: int) -> float:
        """Return how wide a strip may be (pixels) whose windows of this size, row by row, decode nothing twice."""
        return self._grid.strip(size)

    def is_empty(self, window: Window) -> bool:
        """Tell whether a window holds no tissue."""
        rows, columns = (
            slice(int(part.start * size / length), -int(-part.stop * size // length))
            for part, size, length in zip(window, self.tissue_overview.shape, self.shape[1:], strict=True)
        )
        return not self.tissue_overview[rows, columns].any()

    def tissue(self, window: Window, scale: int = 1) -> np.ndarray:
        """Return where tissue is in a window, bool (h, w).

        Args:
            window: counted in pixels of which `scale` take the place of one that is read, along each axis.
            scale: see there.
        """
        rows, columns = (
            ((np.arange(part.start, part.stop) + 0.5) * (size / length / scale)).astype(np.int64)
            for part, size, length in zip(window, self.tissue_overview.shape, self.shape[1:], strict=True)
        )
        return self.tissue_overview[np.ix_(rows, columns)]

    @cached_property
    def overview(self) -> np.ndarray:
        """The whole slide with at most 2048 pixels along a side, uint8 (h, w, 3); made when it is first asked for.

        Of a slide without coarse levels this reads all pixels.
        """
        height, width = self._overview_grid.shape
        overview = np.empty((height, width, 3), np.uint8)
        for top in range(0, height, OVERVIEW_BAND):
            bottom = min(top + OVERVIEW_BAND, height)
            overview[top:bottom] = self._overview_grid.pixels((top, bottom), (0, width))
        return overview

    @cached_property
    def tissue_overview(self) -> np.ndarray:
        """Where tissue is on the overview, bool (h, w)."""
        return tissue_mask(self.overview, self.overview_mpp)

    @property
    def overview_shape(self) -> tuple[int, int]:
        """(H, W) of the overview."""
        return self._overview_grid.shape

    @property
    def overview_step(self) -> float:
        """Pixels of the finest level per pixel of the overview."""
        return self._overview_grid.downsample

    @property
    def overview_mpp(self) -> float:
        """Micrometres per pixel of the overview."""
        return self.geometry.level0_mpp * self.overview_step

    def close(self) -> None:
        """Close the file."""
        self.levels.close()

    def __enter__(self) -> SlideSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def _overview_grid(self) -> Grid:
        return Grid(self._pyramid, max(max(self.levels.sizes[0]) / OVERVIEW, 1.0))

    def _finest_mpp(self, slide_mpp: float | None) -> float:
        """Return micrometres per pixel of the finest level."""
        if self.levels.mpp is None:
            if slide_mpp is None:
                hint = f" ({self.levels.hint})" if self.levels.hint else ""
                raise UserError(
                    f"{self.path}: the file does not tell its resolution{hint}; give --slide_mpp, the micrometres "
                    "per pixel of its finest level (about 0.25 at 40x, 0.5 at 20x)."
                )
            return float(slide_mpp)
        height, width = self.levels.mpp
        if abs(height / width - 1) > MOST_UNEQUAL:
            raise UserError(
                f"{self.path}: its pixels are not square ({width:g} x {height:g} µm); convert it to square pixels."
            )
        mpp = (height + width) / 2
        if slide_mpp is not None and abs(slide_mpp / mpp - 1) > SAME:
            logger.warning("%s: tells %g µm/pixel, which is taken; --slide_mpp %g is not.", self.path, mpp, slide_mpp)
        return mpp

    def _checked_downsample(self, mpp: float | None, level0_mpp: float) -> float:
        downsample = 1.0 if mpp is None else mpp / level0_mpp
        if downsample < FINEST:
            raise UserError(
                f"{self.path}: {mpp:g} µm/pixel are wanted; the slide has {level0_mpp:g} and shows nothing so small. "
                "Take a slide of a stronger objective, or weights for a coarser resolution."
            )
        if downsample < 1 - SAME:
            logger.warning("%s: has %g µm/pixel; enlarged to the wanted %g.", self.path, level0_mpp, mpp)
        return downsample
