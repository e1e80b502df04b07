"""Dated GeoTIFFs of places that are made by a formula, for trying things out without a download."""

from __future__ import annotations

import json
import logging
import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from ...core.errors import UserError
from ..made_scenes import made_ground, on_day, under_clouds
from .cache import user_cache
from .dated_places import DatedPlaces
from .group_split import Part, Shares
from .scene_series import SceneImage

logger = logging.getLogger(__name__)

BANDS = ("B4 red", "B3 green", "B2 blue", "B8 nir")
QUANTIFICATION = 10000
CLEAR_EVERY = 3  # dates of which one is clear
OPAQUE = 0.1  # from which a pixel counts as cloud
NOTE = "made.json"


class MadePlaces(DatedPlaces):
    """Made, not real: fields with seasons, roads, woods and water under clouds that are made as well.

    Good to see that everything runs and to learn what the files look like; what is trained on it is of no use on real
    images. Channels: red, green, blue and near infrared. Units: reflectance, stored times 10000. Resolution: 10 m.
    Layout: `<place>/image/<date>.tif` with `<place>/cloud_mask/<date>.tif`, written once. Split: by place. Licence:
    CC0-1.0.

    Args:
        folder: where the files are written, or are already; None for the user's cache folder.
        count: places that are made.
        days: dates of each.
        side: pixels along a side of each image.
        seed: another seed makes other places.
        dates, cover, part, shares, split_seed: see `DatedPlaces`.
    """

    def __init__(
        self,
        folder: str | None = None,
        count: int = 12,
        days: int = 9,
        side: int = 128,
        seed: int = 0,
        dates: int = 3,
        cover: tuple[float, float] = (0.05, 0.95),
        part: Part | None = None,
        shares: Shares = (0.7, 0.15, 0.15),
        split_seed: int = 0,
    ) -> None:
        self.making = {"count": count, "days": days, "side": side, "seed": seed}
        name = "-".join(str(each) for each in self.making.values())
        super().__init__(
            folder or str(user_cache() / "cloudremoval" / f"made-{name}"),
            dates,
            cover=cover,
            part=part,
            shares=shares,
            split_seed=split_seed,
            licence="CC0-1.0 (made by a formula, no real images)",
        )

    def images(self) -> list[SceneImage]:
        """Return every image of the chosen places, by place and date; makes the files where there are none.

        Raises:
            UserError: the folder holds something else.
        """
        if not self.folder.exists():
            self._make()
        note = self.folder / NOTE
        if not note.is_file() or json.loads(note.read_text()) != self.making:
            raise UserError(f"{self.folder}: holds something else than these made places; give another folder.")
        return super().images()

    def _make(self) -> None:
        part = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.part")
        part.mkdir(parents=True)
        for number in range(self.making["count"]):
            _make_place(part / f"made_{number:02d}", number, self.making)
        (part / NOTE).write_text(json.dumps(self.making))
        try:
            part.rename(self.folder)
        except OSError:  # another process was faster
            shutil.rmtree(part)
        logger.info("made %d places in %s", self.making["count"], self.folder)


def _make_place(folder: Path, number: int, making: dict[str, int]) -> None:
    for name in ("image", "cloud_mask"):
        (folder / name).mkdir(parents=True)
    generator = np.random.default_rng([making["seed"], number])
    ground = made_ground(making["side"], generator)
    clear = int(generator.integers(CLEAR_EVERY))
    day = datetime(2021, 3, 1) + timedelta(days=int(generator.integers(30)))
    where = Affine(10, 0, 300000 + 20000 * number, 0, -10, 5100000)
    for index in range(making["days"]):
        values = on_day(ground, day.timetuple().tm_yday / 365, generator)
        opacity = np.zeros_like(values[:1])
        if index % CLEAR_EVERY != clear:
            values, opacity = under_clouds(values, generator.uniform(0.2, 0.8), generator)
        stored = np.clip(np.rint(values * QUANTIFICATION), 1, 65535).astype(np.uint16)
        _write(folder / "image" / f"{day:%Y-%m-%d}.tif", stored, BANDS, where)
        _write(folder / "cloud_mask" / f"{day:%Y-%m-%d}.tif", (opacity > OPAQUE).astype(np.uint8), ("cloud",), where)
        day += timedelta(days=int(generator.integers(5, 25)))


def _write(path: Path, array: np.ndarray, names: tuple[str, ...], where: Affine) -> None:
    count, height, width = array.shape
    options = {"count": count, "height": height, "width": width, "dtype": array.dtype, "transform": where}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32633", compress="deflate", tiled=True, **options) as file:
        file.write(array)
        file.descriptions = names
