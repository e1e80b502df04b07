"""Which bands of a raster are meant: by number, by description, or by the part of the spectrum that they show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import rasterio
from rasterio.enums import ColorInterp

from ....core.errors import UserError

Bands = Sequence[int | str] | str

SENTINEL_2 = {
    "1": "coastal",
    "2": "blue",
    "3": "green",
    "4": "red",
    "5": "red edge 1",
    "6": "red edge 2",
    "7": "red edge 3",
    "8": "nir",
    "8a": "narrow nir",
    "9": "water vapour",
    "10": "cirrus",
    "11": "swir 1",
    "12": "swir 2",
}
"""What the bands of Sentinel-2 show, by their numbers. Those of Landsat mean other things on each satellite, so that
its bands are known by words alone."""

WORDS = [
    (re.compile(r"red ?edge ?(\d?)|\bre(\d)\b"), "red edge"),
    (re.compile(r"narrow|\bnir0[89]\b|\b(?:nir)?8a\b"), "narrow nir"),
    (re.compile(r"\bswir ?(\d?)|short ?wave"), "swir"),
    (re.compile(r"thermal|\btir|\blwir"), "thermal"),
    (re.compile(r"\bnir1?\b|near ?infra ?red"), "nir"),
    (re.compile(r"coastal|aerosol"), "coastal"),
    (re.compile(r"cirrus"), "cirrus"),
    (re.compile(r"water vapou?r"), "water vapour"),
    (re.compile(r"\bpan(?:chromatic)?\b"), "panchromatic"),
    (re.compile(r"\bred\b|^r$"), "red"),
    (re.compile(r"\bgreen\b|^g$"), "green"),
    (re.compile(r"\bblue\b|^b$"), "blue"),
]
"""Words of the parts of the spectrum, those first that hold another's word."""
NUMBER = re.compile(r"b0?(\d{1,2}a?)\b")
COLOURS = {ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue"}


def band_name(description: str) -> str:
    """Return the part of the spectrum that a band shows, such as "red" or "nir"; "" where its description tells none.

    Args:
        description: such as "B4 red", "B08", "Near Infrared (0.85 - 0.88 um)" or "SR_B4 (Red)". A word counts more
            than a number, which is taken as one of Sentinel-2.
    """
    text = " ".join(re.split(r"[^a-z0-9]+", description.casefold())).strip()
    for pattern, name in WORDS:
        if found := pattern.search(text):
            number = next((each for each in found.groups() if each), "")
            return f"{name} {number}" if number else name
    number = NUMBER.match(text)
    return SENTINEL_2.get(number[1], "") if number else ""


def names_of(file: rasterio.DatasetReader) -> list[str]:
    """Return the part of the spectrum that each band of a file shows, by its description, else as it is displayed."""
    described = zip(file.descriptions, file.colorinterp, strict=True)
    return [band_name(text) if text else COLOURS.get(colour, "") for text, colour in described]


def alpha_band(file: rasterio.DatasetReader) -> int | None:
    """Return the number of the band that tells what is transparent; one that says what it shows is none.

    Files of red, green, blue and near infrared are often written as if the last one was alpha.
    """
    described = zip(file.indexes, file.colorinterp, file.descriptions, strict=True)
    return next((n for n, colour, text in described if colour == ColorInterp.alpha and not band_name(text or "")), None)


def chosen_bands(path: Path, file: rasterio.DatasetReader, bands: Bands | None, alpha: int | None) -> tuple[int, ...]:
    """Return the numbers of the chosen bands; of all but alpha where none are chosen.

    Args:
        path: of the file.
        file: opened.
        bands: numbers from 1, descriptions, words of one description alone, or parts of the spectrum; in order.
        alpha: the number of the alpha band.

    Raises:
        UserError: the file has no such band.
    """
    if bands is None:
        return tuple(band for band in file.indexes if band != alpha) or tuple(file.indexes)
    wanted = bands.split(",") if isinstance(bands, str) else list(bands)
    numbers = tuple(_number(path, file, each) for each in wanted)
    if not numbers:
        raise UserError(f"{path}: no band is chosen; give at least one.")
    return numbers


def bands_of_channels(
    path: Path, file: rasterio.DatasetReader, channels: Sequence[str], alpha: int | None
) -> tuple[int, ...]:
    """Return the numbers of the bands that show the parts of the spectrum which a network takes, in its order.

    Args:
        path: of the file.
        file: opened.
        channels: such as "red" or "nir".
        alpha: the number of the alpha band.

    Where no band says what it shows they are taken as they come.

    Raises:
        UserError: a band is missing or there are two; or no band says what it shows and there are more or fewer.
    """
    names = names_of(file)
    numbers = [number for number in file.indexes if number != alpha]
    if not any(names[number - 1] for number in numbers):
        if len(numbers) != len(channels):
            advice = "choose them with --bands" if len(numbers) > len(channels) else "give files that hold all of them"
            raise UserError(
                f"{path}: has {len(numbers)} bands that do not say what they show, the network takes {len(channels)} "
                f"({', '.join(channels)}); {advice}."
            )
        return tuple(numbers)
    found = []
    for channel in channels:
        fitting = [number for number in numbers if names[number - 1] == channel]
        if len(fitting) != 1:
            what = f"{len(fitting)} bands show {channel}" if fitting else f"no band shows {channel}"
            raise UserError(f"{path}: {what}; its bands are {_known(file)}. Choose {len(channels)} with --bands.")
        found += fitting
    return tuple(found)


def _number(path: Path, file: rasterio.DatasetReader, band: int | str) -> int:
    """Return the number of a band that is told by number, description, a word of one alone, or what it shows."""
    text = str(band).strip().casefold()
    if text.isdecimal() and 1 <= int(text) <= file.count:
        return int(text)
    names = [(each or "").casefold() for each in file.descriptions]
    shown, what = names_of(file), band_name(text) if len(text) > 1 else ""
    for found in (
        [name == text for name in names],
        [text in name.split() for name in names],
        [what != "" and name == what for name in shown],
    ):
        if sum(found) == 1:
            return found.index(True) + 1
    raise UserError(f"{path}: has no band {band}; its bands are {_known(file)}. Choose among them with --bands.")


def _known(file: rasterio.DatasetReader) -> str:
    named = zip(file.indexes, file.descriptions, names_of(file), strict=True)
    return ", ".join(f"{number} ({text or shown})" if text or shown else str(number) for number, text, shown in named)
