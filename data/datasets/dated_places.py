"""An archive of one's own: a folder for each place, with dated GeoTIFFs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ..io.geotiff import rasters_in
from ..io.geotiff.dates import find_date
from .cloud_masks import masks_of
from .scene_series import Cover, OwnScenes, SceneImage, SceneSeries, nearest

IMAGES = ("image", "images")
MASKS = ("cloud_mask", "cloud_masks", "mask", "masks")


class DatedPlaces(OwnScenes):
    """Dated images of places, of which the clear ones are what the cloudy ones around them should become.

    Shows: whatever one has, such as Sentinel-2. Channels: red, green, blue and near infrared, told by the descriptions
    of the bands, or by `bands`. Units: reflectance. Layout: `<place>/<date>.tif`, or `<place>/image/<date>.tif`; a date
    stands somewhere in the name, as 2018-02-10 or 20180210. Cloud masks, where there are any, are in
    `<place>/cloud_mask/`, one for each image with its name or date; their first band is 1 or 255 on cloud, else 0.
    Without masks clouds are told by their colours. A folder that holds images itself is one place. Samples: each date
    with little cloud is the truth of one; the inputs are the nearest other dates, in time, in order. Split: by place.
    Licence: the data's own; Sentinel-2 is free and open.

    Args:
        folder: of the places.
        dates: input images of a sample.
        most_cloud: share of cloud, 0..1, up to which a date is clear, and the truth of a sample.
        cover: shares of cloud, 0..1, from and to which a date is an input. A lower limit above 0 leaves out dates from
            which the truth could be copied.
        **kwargs: see `OwnScenes`.
    """

    def __init__(
        self,
        folder: str,
        dates: int = 3,
        most_cloud: float = 0.01,
        cover: tuple[float, float] = (0.0, 0.95),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.folder = Path(folder)
        self.dates = dates
        self.most_cloud = most_cloud
        self.cover = cover

    def images(self) -> list[SceneImage]:
        """Return every image of the chosen places, by place and date.

        Raises:
            UserError: there is no place, a name tells no date, two images of a place have the same, or an image has no
                mask while others do.
        """
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: is not a folder; give the folder that holds a folder for each place.")
        is_place = bool(find_images(self.folder))
        folders = [self.folder] if is_place else [each for each in sorted(self.folder.iterdir()) if find_images(each)]
        if not folders:
            raise UserError(f"{self.folder}: holds no place; arrange images as <place>/<date>.tif.")
        chosen = self.chosen([each.name for each in folders], self.folder)
        return [image for each in folders if each.name in chosen for image in self._dated(each)]

    def series(self, cover: Cover) -> list[SceneSeries]:
        """Return a sample for every clear date.

        Raises:
            UserError: as `images`; or no place has a clear date with enough others.
        """
        places: dict[str, list[tuple[SceneImage, float]]] = {}
        for image in self.images():
            places.setdefault(image.place, []).append((image, cover(image)))
        found = [series for images in places.values() for series in self._around(images)]
        if not found:
            name, images = next(iter(places.items()))
            told = ", ".join(f"{image.day:%Y-%m-%d} {share:.0%}" for image, share in images[:30])
            raise UserError(
                f"{self.folder}: no place has a date with at most {self.most_cloud:.1%} cloud and {self.dates} others "
                f"with {self.cover[0]:.0%} to {self.cover[1]:.0%}; {name} has {told}. Raise most_cloud, widen cover, "
                "or lower dates."
            )
        return found

    def _around(self, images: Sequence[tuple[SceneImage, float]]) -> list[SceneSeries]:
        lowest, highest = self.cover
        found = []
        for truth in (image for image, share in images if share <= self.most_cloud):
            inputs = [image for image, share in images if image is not truth and lowest <= share <= highest]
            if len(inputs) >= self.dates:
                dates = sorted(nearest(inputs, truth.day)[: self.dates], key=lambda image: image.day)
                found.append(SceneSeries(f"{truth.place} {truth.day:%Y-%m-%d}", tuple(dates), truth))
        return found

    def _dated(self, folder: Path) -> list[SceneImage]:
        files: dict[datetime, Path] = {}
        for file in rasters_in(find_images(folder)):
            day = find_date(file.stem)
            if day is None:
                raise UserError(f"{file}: the name tells no date; name images such as 2018-02-10.tif.")
            if day in files:
                raise UserError(f"{file}: has the same date as {files[day].name}; keep one of them.")
            files[day] = file
        days = dict(sorted(files.items()))
        where = find_masks(folder)
        masks = masks_of([*days.values()], [*days], rasters_in(where)) if where else [None] * len(days)
        return [
            SceneImage((file,), folder.name, folder.name, self.reading, mask, day)
            for (day, file), mask in zip(days.items(), masks, strict=True)
        ]


def find_images(folder: Path) -> Path | None:
    """Return the folder of the images of a place: itself or one in it; None where there is none."""
    return _with_rasters(folder, (*IMAGES, ""))


def find_masks(folder: Path) -> Path | None:
    """Return the folder of the cloud masks of a place; None where there is none."""
    return _with_rasters(folder, MASKS)


def _with_rasters(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if rasters_in(folder / name)), None)
