"""Cloudy and clear images of the same places in two folders."""

from __future__ import annotations

import re
from pathlib import Path

from ...core.errors import UserError
from ..io.geotiff import SUFFIXES
from ..io.geotiff.dates import find_date
from .group_split import Part, Shares
from .scene_series import Cover, Reading, SceneImage, SceneSeries, chosen_places


class PairedScenes:
    """Clear GeoTIFFs with one or several cloudy ones of the same place, as in SEN12MS-CR; or clear ones alone.

    Shows: SEN12MS-CR has Sentinel-2 of 175 regions, 256x256 pixels of 10 m, one cloudy and one clear day of the same
    season. Channels: red, green, blue and near infrared, told by the descriptions of the bands, or by `bands`. Units:
    reflectance. Layout: `clear/<name>.tif` with `cloudy/<name>.tif`, or `cloudy/<name>_0.tif`, `_1`, `_2` for several
    dates; masks have the names of the cloudy images, their first band is above 0 on cloud. Split: by place. Licence of
    SEN12MS-CR: CC BY 4.0. Citation: Ebel et al., "Multisensor Data Fusion for Cloud Removal in Global and All-Season
    Sentinel-2 Imagery", IEEE TGRS 2020.

    Args:
        clear: folder of the clear images.
        cloudy: folder of the cloudy images; None for clear images alone, which clouds are composed on.
        masks: folder of the masks; None tells clouds by their colours.
        place: regular expression whose first group is the place in a name, such as "(.*)_p"; None makes each name a
            place.
        exclude: names that are left out.
        places, part, shares, split_seed, bands, quantification, offset, licence: see `DatedPlaces`.
    """

    protocol = "reflectance"
    unit = "reflectance"

    def __init__(
        self,
        clear: str,
        cloudy: str | None = None,
        masks: str | None = None,
        place: str | None = None,
        exclude: list[str] | None = None,
        places: list[str] | None = None,
        part: Part | None = None,
        shares: Shares = (0.7, 0.15, 0.15),
        split_seed: int = 0,
        bands: str | None = None,
        quantification: float | None = None,
        offset: float | None = None,
        licence: str = "",
    ) -> None:
        self.clear = Path(clear)
        self.cloudy = Path(cloudy) if cloudy else None
        self.masks = Path(masks) if masks else None
        self.place = re.compile(place) if place else None
        self.exclude = frozenset(exclude or ())
        self.places = places
        self.part = part
        self.shares = shares
        self.split_seed = split_seed
        self.reading = Reading(bands, quantification, offset)
        self.licence = licence

    def images(self) -> list[SceneImage]:
        """Return every image: of each name the clear one, then the cloudy ones.

        Raises:
            UserError: a folder is missing or empty, a clear image has no cloudy one, or a name tells no place.
        """
        return [image for series in self._all() for image in (series.truth, *series.images)]

    def series(self, cover: Cover) -> list[SceneSeries]:
        """Return a sample for each clear image.

        Raises:
            UserError: as `images`; or there are no cloudy images.
        """
        if self.cloudy is None:
            raise UserError(
                f"{self.clear}: clear images alone are no samples; give the cloudy ones, or compose clouds."
            )
        return self._all()

    def _all(self) -> list[SceneSeries]:
        clear = _named(self.clear)
        missing = self.exclude - {*clear}
        if missing:
            raise UserError(f"{self.clear}: has no image {min(missing)!r} to leave out.")
        places = {name: self._place(name) for name in clear if name not in self.exclude}
        chosen = chosen_places([*places.values()], self.places, self.part, self.shares, self.split_seed, self.clear)
        cloudy = _named(self.cloudy) if self.cloudy else {}
        masks = _named(self.masks) if self.masks else {}
        return [
            SceneSeries(
                name,
                tuple(self._image(cloudy[each], name, place, masks.get(each)) for each in self._dates(name, cloudy)),
                self._image(clear[name], name, place, is_clear=True),
            )
            for name, place in places.items()
            if place in chosen
        ]

    def _image(
        self, file: Path, scene: str, place: str, mask: Path | None = None, is_clear: bool = False
    ) -> SceneImage:
        return SceneImage((file,), scene, place, self.reading, mask, find_date(file.stem), is_clear)

    def _dates(self, name: str, cloudy: dict[str, Path]) -> list[str]:
        if self.cloudy is None:
            return []
        numbered = re.compile(re.escape(name) + r"_(\d+)")
        found = {int(match[1]): each for each in cloudy if (match := numbered.fullmatch(each))}
        names = [name] if name in cloudy else [found[number] for number in sorted(found)]
        if not names:
            raise UserError(
                f"{self.clear / name}: has no partner; expected {name}.tif or {name}_0.tif in {self.cloudy}."
            )
        return names

    def _place(self, name: str) -> str:
        if self.place is None:
            return name
        match = self.place.search(name)
        if match is None:
            raise UserError(f"{self.clear / name}: the name tells no place by {self.place.pattern!r}; correct `place`.")
        return match[1]


def _named(folder: Path) -> dict[str, Path]:
    """Return the rasters of a folder by name."""
    found = {each.stem: each for each in sorted(folder.glob("*")) if each.suffix.lower() in SUFFIXES}
    if not found:
        raise UserError(f"{folder}: there is no such folder, or it holds no GeoTIFF.")
    return found
