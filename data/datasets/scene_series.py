"""One place on several dates: where its images are and how their numbers are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ...core.errors import UserError
from .group_split import Part, Shares, groups_of
from .split_file import names_of

CHANNELS = ("red", "green", "blue", "nir")


@dataclass(frozen=True)
class Reading:
    """How the stored numbers of a layout become values, see `SceneFiles`.

    Attributes:
        bands: of a GeoTIFF in this order, by number or description; None for red, green, blue and near infrared.
        quantification: reflectance = (stored + offset) / quantification; None asks the file.
        offset: added to stored numbers; None asks the file.
        side: pictures are resized to squares of this many pixels; 0 leaves them as they are.
    """

    bands: str | None = None
    quantification: float | None = None
    offset: float | None = None
    side: int = 0


@dataclass(frozen=True)
class SceneImage:
    """One date of a place.

    Attributes:
        files: a GeoTIFF; or a colour picture and one of the near infrared.
        scene: images of one scene show the same ground, pixel by pixel.
        place: what must not be in two parts of a split; it may have several scenes.
        reading: how the files are read.
        mask: a raster whose first band is 1 or 255 on cloud, else 0; None where there is none.
        day: when it was taken; None where that is not known.
        is_clear: known to be free of clouds, whatever a mask may say.
    """

    files: tuple[Path, ...]
    scene: str
    place: str
    reading: Reading
    mask: Path | None = None
    day: datetime | None = None
    is_clear: bool = False


@dataclass(frozen=True)
class SceneSeries:
    """Some dates of a place, and the cloud-free image of it that is wanted.

    Attributes:
        name: what reports call it.
        images: the dates, in their order.
        truth: the cloud-free image.
    """

    name: str
    images: tuple[SceneImage, ...]
    truth: SceneImage

    @property
    def place(self) -> str:
        """What must not be in two parts of a split."""
        return self.truth.place


Cover = Callable[[SceneImage], float]
"""Tells which share of an image, 0..1, is cloud."""


class SceneSource(Protocol):
    """A dataset layout.

    Attributes:
        licence: terms of the images.
        protocol: how results are told beside those in reflectance: "new" or "old" as Sen2_MTC's, else "reflectance".
        unit: of the values: "reflectance", or "" for pictures in 0..1.
    """

    licence: str
    protocol: str
    unit: str

    def images(self) -> list[SceneImage]:
        """Return every image in a fixed order; raises UserError where there are none, or files are missing."""
        ...

    def series(self, cover: Cover) -> list[SceneSeries]:
        """Return the samples in a fixed order; raises UserError where there are none."""
        ...


class ListedScenes(ABC):
    """A layout whose samples are told by the names of its files, whatever the clouds; a subclass lists them."""

    @abstractmethod
    def listed(self) -> list[SceneSeries]:
        """Return all samples in a fixed order; raises UserError where there are none, or files are missing."""

    def images(self) -> list[SceneImage]:
        """Return every image: of each sample the clear one, then the cloudy ones.

        Raises:
            UserError: as `series`.
        """
        return [image for series in self.listed() for image in (series.truth, *series.images)]

    def series(self, cover: Cover) -> list[SceneSeries]:
        """Return the samples.

        Raises:
            UserError: a folder is missing or empty, or images are missing.
        """
        return self.listed()


class OwnScenes:
    """GeoTIFFs of reflectance that one has: how their numbers are read, and which of the places are taken.

    Args:
        places: names of the places to take; None for all.
        part: take only this part of the places; None for all.
        shares: of the places in training, validation and test, one together.
        split_seed: another seed gives another split.
        bands: red, green, blue and near infrared, by number or description; None tells them by their descriptions.
        quantification: reflectance = (stored + offset) / quantification; None asks the file.
        offset: added to stored numbers; None asks the file.
        licence: terms of the images, written to the card of what is trained on them.
        split: CSV file of places (name) and their parts, as `foveal init` writes it; None deals by shares and seed.
    """

    protocol = "reflectance"
    unit = "reflectance"

    def __init__(
        self,
        places: list[str] | None = None,
        part: Part | None = None,
        shares: Shares = (0.7, 0.15, 0.15),
        split_seed: int = 0,
        bands: str | None = None,
        quantification: float | None = None,
        offset: float | None = None,
        licence: str = "",
        split: Path | None = None,
    ) -> None:
        self.places = places
        self.part = part
        self.shares = shares
        self.split_seed = split_seed
        self.reading = Reading(bands, quantification, offset)
        self.licence = licence
        self.split = split

    def chosen(self, places: Sequence[str], where: object) -> set[str]:
        """Return the places that are taken of all; `where` names the data in errors, see `chosen_places`."""
        return chosen_places(places, self.places, self.part, self.shares, self.split_seed, where, self.split)


def nearest(images: Sequence[SceneImage], day: datetime) -> list[SceneImage]:
    """Return dated images, those nearest to a day first, and of two as near the earlier one."""
    return sorted(images, key=lambda image: (abs(image.day - day), image.day))


def chosen_places(
    places: Sequence[str],
    wanted: Sequence[str] | None,
    part: Part | None,
    shares: Shares,
    seed: int,
    where: object,
    split: Path | None = None,
) -> set[str]:
    """Return the places that are used.

    Args:
        places: all of a layout.
        wanted: the places to take; None for all.
        part: the part of those to take; None for all.
        shares: of training, validation and test.
        seed: another seed gives another split.
        where: the data, named in errors.
        split: the file that tells the parts, in place of shares and seed.

    Raises:
        UserError: a wanted place is not there, the part is empty, the shares are impossible, or the
            split file does not fit.
    """
    if wanted is not None and (missing := sorted({*wanted} - {*places})):
        raise UserError(f"{where}: has no place {missing[0]!r}; its places are {', '.join(sorted({*places})[:20])}.")
    taken = {*places} if wanted is None else {*wanted}
    if split is not None:
        return names_of(split, part, places) & taken
    return taken if part is None else groups_of(taken, part, shares, seed, where, "places")
