"""What makes pictures, or pairs of a degraded and a clean picture, unfit for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.errors import UserError
from ...data.checks import Finding, Report
from ...data.inventory import Item
from ...data.io.image import read_image

MOST_SATURATED = 0.1  # of the samples at the highest value; blurred light that was cut off cannot be undone
FARTHEST_APART = 0.5  # pixels
SIDE = 512  # pixels of the middle that are held against each other


def check_pictures(report: Report, clean: Path | None, pictures: Sequence[Item]) -> None:
    """Add to a report what is wrong with each picture, and with its clean partner where a folder of them is given.

    Args:
        report: of the degraded pictures.
        clean: the folder of the clean ones, None for none.
        pictures: what it holds.
    """
    partners = {each.stem: each for each in pictures}
    for finding in report.findings:
        if finding.facts is None:
            continue
        try:
            _check(finding, partners.pop(finding.item.stem, None), clean)
        except UserError as error:
            finding.errors.append(f"clean partner: {error}")
    report.problems += [f"{each.name} has no picture through the display" for each in partners.values()]


def _check(finding: Finding, partner: Item | None, clean: Path | None) -> None:
    picture = read_image(finding.item.path, alpha=True)
    finding.errors += _faults(picture)
    finding.warnings += _remarks(picture)
    if clean is None:
        return
    if partner is None:
        finding.errors.append(f"has no partner in {clean}")
        return
    truth = read_image(partner.path, alpha=True)
    finding.errors += [f"clean partner: {fault}" for fault in _faults(truth)]
    finding.errors += _differences(picture, truth)
    if not finding.errors:
        rows, columns = shift_between(picture, truth)
        if max(abs(rows), abs(columns)) > FARTHEST_APART:
            finding.errors.append(
                f"lies {rows:+.1f} rows and {columns:+.1f} columns from its clean partner; align the two"
            )


def _faults(picture: np.ndarray) -> list[str]:
    """Say what makes a picture (C, H, W) with its alpha unusable."""
    colours, _ = _colours(picture)
    if colours.min() == colours.max():
        return [f"constant: every sample is {colours.min()}"]
    return []


def _remarks(picture: np.ndarray) -> list[str]:
    """Say what should be looked at in a picture (C, H, W) with its alpha."""
    remarks = []
    colours, has_alpha = _colours(picture)
    saturated = float((colours == np.iinfo(picture.dtype).max).mean())
    if saturated > MOST_SATURATED:
        remarks.append(f"saturated: {saturated:.0%} of the samples have the highest value")
    if has_alpha:
        remarks.append("has an alpha channel, which training leaves out")
    if picture.dtype == np.uint16 and not (colours & 0xFF).any():
        remarks.append("8 bits stored as 16: the lower byte of every sample is zero")
    return remarks


def _differences(picture: np.ndarray, truth: np.ndarray) -> list[str]:
    """Say why two pictures (C, H, W) are no pair."""
    sizes = [f"{each.shape[2]}x{each.shape[1]}" for each in (picture, truth)]
    found = []
    if sizes[0] != sizes[1]:
        found.append(f"{sizes[0]} pixels, its clean partner {sizes[1]}")
    if picture.dtype != truth.dtype:
        bits = [8 * each.dtype.itemsize for each in (picture, truth)]
        found.append(f"{bits[0]} bits, its clean partner {bits[1]}; convert one of them")
    return found


def shift_between(picture: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Estimate how far a picture lies from its truth, by phase correlation of their middles (scikit-image).

    Args:
        picture: (C, H, W).
        truth: the same.

    Returns:
        (rows, columns) in pixels, to a tenth; positive where the picture lies further down and right.
    """
    from skimage.registration import phase_cross_correlation

    window = np.outer(*(np.hanning(min(size, SIDE) + 2)[1:-1] for size in truth.shape[1:]))
    middles = [_middle(each) for each in (picture, truth)]
    taken, true = ((each - each.mean()) * window for each in middles)
    rows, columns = phase_cross_correlation(taken, true, upsample_factor=10)[0]
    return float(rows), float(columns)


def _middle(picture: np.ndarray) -> np.ndarray:
    """Return the mean colour of the middle, (H, W) float64, at most SIDE x SIDE."""
    places = (slice(max(0, (size - SIDE) // 2), max(0, (size - SIDE) // 2) + SIDE) for size in picture.shape[1:])
    return _colours(picture)[0][:, *places].mean(axis=0)


def _colours(picture: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the channels without alpha, and whether there was one."""
    has_alpha = picture.shape[0] in (2, 4)
    return (picture[:-1] if has_alpha else picture), has_alpha
