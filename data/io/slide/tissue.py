"""Where the tissue of a stained slide is, seen on an overview of it.

Stains are coloured; glass, dust, shadows and black borders are not. So tissue is where the optical density differs
between red, green and blue. `clam_mask` is the simpler way of CLAM, for those who compare with its results.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

SMOOTHING_UM = 4.0  # standard deviation
SPECK_UM2 = 150.0  # smaller pieces are dust
HOLE_UM2 = 2500.0  # smaller holes belong to the tissue
MARGIN_UM = 10.0  # what is pale at the edge belongs to it
WEAKEST, STRONGEST = 0.02, 0.08  # bounds of the threshold, in optical density
COLOURLESS = 0.03  # optical density; where nothing exceeds it there is no stain
BAND = 128  # rows looked at at once
SAMPLES = 512  # pixels along a side that tell the colour of glass
DARKEST = 0.1  # transmission; colours darker than this are noise
CLAM_PATCH = 512  # pixels of the finest level along a side, the unit of the areas below
CLAM_SATURATION, CLAM_PIECE, CLAM_HOLE, CLAM_HOLES = 8, 100, 16, 8
BRIGHT, CAST = 0.75, 0.12  # transmission of glass at least, difference between its colours at most


def tissue_mask(overview: np.ndarray, mpp: float) -> np.ndarray:
    """Return where tissue is.

    A slide without any colour is taken as tissue everywhere, as it may be a grey image, unless it is blank.

    Args:
        overview: the slide at low resolution, uint8 (H, W, 3).
        mpp: micrometres per pixel of it.

    Returns:
        bool (H, W).
    """
    colour, darkness = _stain(overview)
    colour = ndimage.gaussian_filter(colour, min(max(SMOOTHING_UM / mpp, 0.5), 8))
    if np.quantile(colour, 0.999) < COLOURLESS:
        is_blank = np.quantile(darkness, 0.999) - np.quantile(darkness, 0.001) < COLOURLESS
        return np.full(colour.shape, not is_blank)
    # Otsu splits a slide that is all tissue into pale and dark; the upper bound keeps the pale.
    threshold = float(np.clip(threshold_otsu(colour), WEAKEST, STRONGEST))
    mask = _without_small(colour > threshold, SPECK_UM2 / mpp**2)
    mask = ~_without_small(~mask, HOLE_UM2 / mpp**2)
    margin = min(max(round(MARGIN_UM / mpp), 1), 32)
    return ndimage.maximum_filter(mask, 2 * margin + 1)


def clam_mask(overview: np.ndarray, step: float) -> np.ndarray:
    """Return where tissue is as CLAM finds it (Lu et al. 2021; the settings of ACMIL's authors).

    Saturation above 8 after a median over 7 pixels, closed by 4 x 4. Pieces of no more than 100 patches of 512 x 512
    pixels of the finest level are dropped; holes of more than 16 are kept, the 8 largest of each piece.

    Args:
        overview: the slide at low resolution, uint8 (H, W, 3).
        step: pixels of the finest level per pixel of it.

    Returns:
        bool (H, W).
    """
    import cv2

    saturation = cv2.cvtColor(overview, cv2.COLOR_RGB2HSV)[..., 1]
    mask = (cv2.medianBlur(saturation, 7) > CLAM_SATURATION).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((4, 4), np.uint8))
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    areas = np.array([cv2.contourArea(each) for each in contours]) * (step / CLAM_PATCH) ** 2
    tissue = np.zeros_like(mask)
    parents = tree[0, :, 3] if contours else np.empty(0, np.int32)
    for piece in np.flatnonzero(parents < 0):
        holes = np.flatnonzero(parents == piece)
        if areas[piece] - areas[holes].sum() <= CLAM_PIECE:
            continue
        cv2.drawContours(tissue, contours, int(piece), 1, cv2.FILLED)
        largest = sorted(holes, key=lambda hole: -areas[hole])[:CLAM_HOLES]
        for hole in (each for each in largest if areas[each] > CLAM_HOLE):
            inside = cv2.drawContours(np.zeros_like(mask), contours, int(hole), 1, cv2.FILLED)
            tissue[(inside == 1) & (mask == 0)] = 0
    return tissue.astype(bool)


def _without_small(mask: np.ndarray, area: float) -> np.ndarray:
    """Return a mask without its pieces of fewer pixels than `area`, or than a thousandth of it all."""
    pieces, _ = ndimage.label(mask)
    is_kept = np.bincount(pieces.ravel()) >= min(area, mask.size / 1000)
    is_kept[0] = False
    return is_kept[pieces]


def _stain(overview: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how much the optical density differs between the colours, and its mean over them, float32 (H, W)."""
    glass = _glass(overview[:: overview.shape[0] // SAMPLES + 1, :: overview.shape[1] // SAMPLES + 1])
    colour, darkness = np.empty((2, *overview.shape[:2]), np.float32)
    for top in range(0, len(overview), BAND):
        rows = slice(top, top + BAND)
        transmission = overview[rows].astype(np.float32) / (255 * glass)
        density = -np.log10(transmission.clip(DARKEST, 1))
        colour[rows] = np.ptp(density, axis=2)
        darkness[rows] = density.mean(axis=2)
    return colour, darkness


def _glass(overview: np.ndarray) -> np.ndarray:
    """Return the colour of empty glass, (3,): that of the bright pixels, or white where they tell nothing."""
    bright = overview[overview.min(axis=2) > 255 * BRIGHT]
    if len(bright) < 0.01 * overview[..., 0].size:
        return np.ones(3, np.float32)
    glass = (np.quantile(bright, 0.75, axis=0) / 255).astype(np.float32)
    return glass if np.ptp(glass) < CAST else np.ones(3, np.float32)
