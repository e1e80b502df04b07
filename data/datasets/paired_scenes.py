"""Cloudy and clear images of the same places in two folders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ..io.geotiff import rasters_in
from ..io.geotiff.dates import find_date
from .patient_cases import found_group, group_expression
from .scene_series import Cover, ListedScenes, OwnScenes, SceneImage, SceneSeries


class PairedScenes(OwnScenes, ListedScenes):
    """Clear GeoTIFFs with one or several cloudy ones of the same place, as in SEN12MS-CR; or clear ones alone.

    Shows: SEN12MS-CR has Sentinel-2 of 175 regions, 256x256 pixels of 10 m, one cloudy and one clear day of the same
    season. Channels: red, green, blue and near infrared, told by the descriptions of the bands, or by `bands`. Units:
    reflectance. Layout: `clear/<name>.tif` with `cloudy/<name>.tif`, or `cloudy/<name>_0.tif`, `_1`, `_2` for several
    dates; masks have the names of the cloudy images, their first band is 1 or 255 on cloud, else 0. Split: by place.
    Licence of SEN12MS-CR: CC BY 4.0. Citation: Ebel et al., "Multisensor Data Fusion for Cloud Removal in Global and
    All-Season Sentinel-2 Imagery", IEEE TGRS 2020.

    Args:
        clear: folder of the clear images.
        cloudy: folder of the cloudy images; None for clear images alone, which clouds are composed on.
        masks: folder of the masks; None tells clouds by their colours.
        place: regular expression whose first group is the place in a name, such as "(.*)_p"; None makes each name a
            place.
        exclude: names that are left out.
        **kwargs: see `OwnScenes`.

    Raises:
        UserError: `place` is no expression with a group.
    """

    def __init__(
        self,
        clear: str,
        cloudy: str | None = None,
        masks: str | None = None,
        place: str | None = None,
        exclude: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.clear = Path(clear)
        self.cloudy = Path(cloudy) if cloudy else None
        self.masks = Path(masks) if masks else None
        self.place = group_expression(place, "place")
        self.exclude = frozenset(exclude or ())

    def series(self, cover: Cover) -> list[SceneSeries]:
        """Return a sample for each clear image.

        Raises:
            UserError: as `listed`; or there are no cloudy images.
        """
        if self.cloudy is None:
            raise UserError(
                f"{self.clear}: clear images alone are no samples; give the cloudy ones, or compose clouds."
            )
        return super().series(cover)

    def listed(self) -> list[SceneSeries]:
        """Return the clear image of each name with its cloudy ones, of which there may be none.

        Raises:
            UserError: a folder is missing or empty, a clear image has no cloudy one, or a name tells no place.
        """
        clear = _named(self.clear)
        missing = self.exclude - {*clear}
        if missing:
            raise UserError(f"{self.clear}: has no image {min(missing)!r} to leave out.")
        places = {
            name: found_group(path.with_suffix(""), self.place, "place") or name
            for name, path in clear.items()
            if name not in self.exclude
        }
        chosen = self.chosen([*places.values()], self.clear)
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


def _named(folder: Path) -> dict[str, Path]:
    """Return the rasters of a folder by name."""
    found = {each.stem: each for each in rasters_in(folder)}
    if not found:
        raise UserError(f"{folder}: there is no such folder, or it holds no GeoTIFF.")
    return found
