"""Reflectance out of stored numbers: (stored + offset) / quantification, as products of Sentinel-2 have it.

Products of processing baseline 04.00 and later, since 25 January 2022 and in the reprocessed archive ("Collection 1"),
are stored with an offset of -1000; those before have none. Source: ESA, Sentinel-2 Products Specification Document
14.9, sections on QUANTIFICATION_VALUE, BOA_ADD_OFFSET and RADIO_ADD_OFFSET.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from math import isclose
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ....core.errors import UserError
from .raster import Raster

logger = logging.getLogger(__name__)

QUANTIFICATION = 10_000.0
OFFSET = -1000.0
WITH_OFFSET = 400  # of the processing baseline 04.00
OFFSET_SINCE = datetime(2022, 1, 25)
QUANTIFICATION_TAGS = ("BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
OFFSET_TAGS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET", "REFLECTANCE_ADD_OFFSET")
"""The last one is written by Foveal, which does not ask whether reflectance is that of the surface."""

PRODUCT = re.compile(r"(?<![A-Za-z0-9])N(?P<baseline>0[1-9]\d\d)(?![A-Za-z0-9])")
LANDSAT = re.compile(r"^L[CEOT]0[4-9]_L")

LOWEST, HIGHEST = -0.05, 1.5
"""Between which the median of reflectance lies on land, water, snow and clouds."""
PLACES, SIDE = 5, 32
"""Along each axis, where samples are taken, and pixels along a side of each."""


class Convention(NamedTuple):
    """How stored numbers become reflectance.

    Attributes:
        quantification: stored numbers for a reflectance of one.
        offset: added to stored numbers before they are divided.
        why: what tells so.
        is_guessed: nothing does.
    """

    quantification: float
    offset: float
    why: str
    is_guessed: bool = False

    @property
    def formula(self) -> str:
        """The same in words."""
        if not self.offset:
            return "as stored" if self.quantification == 1 else f"stored / {self.quantification:.10g}"
        sign = "-" if self.offset < 0 else "+"
        return f"(stored {sign} {abs(self.offset):.10g}) / {self.quantification:.10g}"


def read_as_reflectance(
    rasters: Sequence[Raster], dates: Sequence[datetime], quantification: float | None, offset: float | None
) -> None:
    """Let the physical values of rasters be reflectance, each by what it says itself.

    Args:
        rasters: opened; files with a scale or an offset of their own are taken as these say.
        dates: of each; () where that is not known.
        quantification: stored numbers for a reflectance of one, where a file does not tell; None if that is not known.
        offset: what is added to stored numbers before that, where a file does not tell; None if that is not known.

    Raises:
        UserError: it is not known how the numbers of a file become reflectance; or what comes out is none.
    """
    if quantification is not None and not quantification > 0:
        raise UserError(f"--quantification {quantification:g}: give a number above 0, such as 10000.")
    each_date = dates or [None] * len(rasters)
    found = [_convention(raster, date, quantification, offset) for raster, date in zip(rasters, each_date, strict=True)]
    for raster, convention in zip(rasters, found, strict=True):
        raster.convention = f"{convention.formula}, by {convention.why}"
        if not raster.has_scales:
            raster.read_as(1 / convention.quantification, convention.offset / convention.quantification)
        raster.leave_out_zeros()
        _refuse_other_values(raster)
    _warn(rasters, each_date, found, quantification, offset)


def _warn(
    rasters: Sequence[Raster],
    dates: Sequence[datetime | None],
    found: Sequence[Convention],
    quantification: float | None,
    offset: float | None,
) -> None:
    """Tell what a person may not expect, once for all files of which it holds."""
    asked = {"--quantification": (quantification, "quantification"), "--offset": (offset, "offset")}
    for option, (value, name) in asked.items():
        other = [n for n, each in enumerate(found) if value is not None and not isclose(getattr(each, name), value)]
        _say(rasters, other, lambda n, option=option: f"{option} has no effect, as {found[n].why} says otherwise")
    guessed = [n for n, each in enumerate(found) if each.is_guessed]
    _say(
        rasters,
        guessed,
        lambda n: f"neither a date nor a tag tells the offset of its numbers; taken as {found[n].formula}",
    )
    old = [
        n
        for n, date in enumerate(dates)
        if date and date < OFFSET_SINCE and (found[n].why, found[n].offset) == ("--offset", OFFSET)
    ]
    _say(
        rasters,
        old,
        lambda n: f"--offset {offset:g} fits products of {dates[n]:%Y-%m-%d} only if they were reprocessed",
    )
    if len({each.formula for each in found}) > 1:
        told = "; ".join(f"{count} are {formula}" for formula, count in Counter(e.formula for e in found).items())
        logger.warning(
            "reflectance differs in how it is stored: %s. What is made of them is written as the first date is.", told
        )


def _say(rasters: Sequence[Raster], numbers: Sequence[int], text: Callable[[int], str]) -> None:
    """Log a warning about some files, naming the first."""
    if numbers:
        more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        logger.warning("%s%s: %s.", rasters[numbers[0]].path, more, text(numbers[0]))


def unit_tags(raster: Raster) -> dict[str, str]:
    """Return the tags by which a file that is written in a raster's numbers is read as the same reflectance."""
    tags = {name: raster.tags[name] for name in (*QUANTIFICATION_TAGS, *OFFSET_TAGS) if name in raster.tags}
    scale, offset = raster.scales[0], raster.offsets[0]
    if raster.has_scales or (scale, offset) == (1, 0):
        return tags
    if not set(tags) & set(QUANTIFICATION_TAGS):
        tags["QUANTIFICATION_VALUE"] = f"{1 / scale:.10g}"
    if not set(tags) & set(OFFSET_TAGS):
        tags["REFLECTANCE_ADD_OFFSET"] = f"{offset / scale:.10g}"
    return tags


def _convention(
    raster: Raster, date: datetime | None, quantification: float | None, offset: float | None
) -> Convention:
    """Return how a file's numbers become reflectance."""
    if raster.has_scales:
        scale, shift = raster.scales[0], raster.offsets[0]
        return Convention(1 / scale, shift / scale, "its own scale")
    tags = {**raster.file.tags(raster.bands[0]), **raster.tags}
    if raster.dtype.kind == "f":
        why = "its type, as numbers with a fraction are reflectance" if quantification is None else "--quantification"
        return Convention(quantification or 1.0, offset or 0.0, why)
    if raster.dtype.itemsize == 1 and quantification is None:
        raise UserError(
            f"{raster.path}: is of 8 bits, a picture for display, and holds no reflectance. Give the product itself, "
            "or --quantification 255 --offset 0 if its numbers are reflectance from 0 to 255."
        )
    if LANDSAT.match(raster.path.name) and quantification is None:
        raise UserError(
            f"{raster.path}: is of Landsat, and does not say what its numbers mean. Give --quantification 36363.6 "
            "--offset -7272.73 for surface reflectance of Collection 2."
        )
    divisor = _number(raster.path, tags, QUANTIFICATION_TAGS) or quantification or QUANTIFICATION
    return Convention(divisor, *_offset(raster, tags, date, offset, quantification))


def _offset(
    raster: Raster, tags: Mapping[str, str], date: datetime | None, offset: float | None, quantification: float | None
) -> tuple[float, str, bool]:
    """Return the offset, what tells it, and whether it is a guess."""
    own = _number(raster.path, tags, OFFSET_TAGS)
    if own is not None:
        return own, "its tag", False
    baseline = _baseline(raster.path, tags)
    if baseline is not None:
        return (OFFSET if baseline >= WITH_OFFSET else 0.0), f"processing baseline {baseline / 100:05.2f}", False
    if offset is not None:
        return offset, "--offset", False
    if quantification not in (None, QUANTIFICATION):
        return 0.0, "--quantification", False
    if date is None:
        return 0.0, "the usual numbers of Sentinel-2", True
    if date < OFFSET_SINCE:
        return 0.0, f"its date, before {OFFSET_SINCE:%Y-%m-%d}", False
    raise UserError(
        f"{raster.path}: is of {date:%Y-%m-%d}, and nothing tells whether its numbers have the offset that Sentinel-2 "
        f"has since {OFFSET_SINCE:%Y-%m-%d}. Give --offset -1000 for products as ESA distributes them, or --offset 0 "
        "where it was taken out, as Earth Engine's harmonised collections and Sentinel Hub do."
    )


def _baseline(path: Path, tags: Mapping[str, str]) -> int | None:
    """Return the processing baseline, such as 400 for 04.00, by the tags, the file's name, or those of its folders."""
    if "PROCESSING_BASELINE" in tags:
        digits = tags["PROCESSING_BASELINE"].strip().lstrip("Nn").replace(".", "")
        if digits.isdecimal() and len(digits) == 4:
            return int(digits)
    for name in (path.name, tags.get("PRODUCT_URI", ""), *(each.name for each in path.absolute().parents)):
        if found := PRODUCT.search(name.replace("_", " ").replace(".", " ")):
            return int(found["baseline"])
    return None


def _number(path: Path, tags: Mapping[str, str], names: Sequence[str]) -> float | None:
    """Return the number in the first of these tags that is there."""
    text = next((tags[name] for name in names if name in tags), None)
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{path}: has no number in its tag {' or '.join(names)}, but {text!r}; correct it.") from None


def _refuse_other_values(raster: Raster) -> None:
    """Refuse a raster whose median is no reflectance; it is looked at in some places."""
    samples = np.concatenate([*_looks(raster)] or [np.zeros(0, np.float32)])
    if not len(samples):
        return
    median = float(np.median(samples))
    if LOWEST <= median <= HIGHEST:
        highest = float((samples.max() - raster.offsets[0]) / raster.scales[0])
        if raster.dtype.kind in "ui" and raster.dtype.itemsize > 1 and highest <= np.iinfo(np.uint8).max:
            logger.warning("%s: its numbers go to %.0f only, as those of a picture of 8 bits do.", raster.path, highest)
        return
    cure = "correct its scale and offset, for instance with gdal_edit.py"
    if not raster.has_scales:
        cure = "say with --quantification and --offset how it comes about: (stored + offset) / quantification"
    raise UserError(
        f"{raster.path}: is no reflectance, which is mostly 0..1: its median is {median:.4g}. Please {cure}."
    )


def _looks(raster: Raster) -> Iterator[np.ndarray]:
    """Yield the valid values of small windows all over a raster, (n,) of all bands, from top to bottom."""
    height, width = raster.geometry.shape
    tops, lefts = ({round((size - SIDE) * (k + 0.5) / PLACES) for k in range(PLACES)} for size in (height, width))
    for top in sorted({max(0, each) for each in tops}):
        for left in sorted({max(0, each) for each in lefts}):
            window = slice(top, min(top + SIDE, height)), slice(left, min(left + SIDE, width))
            values, valid = raster.values(window)
            yield values.ravel() if valid is None else values[np.broadcast_to(valid, values.shape)]
