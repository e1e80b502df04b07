"""What `init` finds in an archive: places, dates, clouds, and how many samples each place gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import UserError
from ...data.datasets.cache import PixelCache, user_cache
from ...data.datasets.dated_places import DatedPlaces
from ...data.datasets.scene_files import SceneFiles
from ...data.datasets.scene_series import SceneImage
from ...data.init_folders import expected
from .clouds import cloud_mask

LISTED = 8  # places that are told of


@dataclass(frozen=True)
class Archive:
    """An archive of places.

    Attributes:
        samples: of each place, how many it gives.
        side: the shorter one of the smallest image, pixels.
        told: sentences about it.
    """

    samples: dict[str, int]
    side: int
    told: list[str]


def find_archive(source: DatedPlaces, input: Path, layout: str) -> Archive:
    """Decode every date, so that it is known which are clear; they stay in the cache for the training.

    Args:
        source: the archive.
        input: its folder.
        layout: what is expected, for errors.

    Raises:
        UserError: there is no place, no sample, or a file cannot be used.
    """
    try:
        images = source.images()
    except UserError as error:
        raise UserError(f"{error} {expected(layout)}") from None
    files = SceneFiles(PixelCache(user_cache() / "cloudremoval"), cloud_mask)
    cover = {image: files.cover(image) for image in images}
    side = min(min(files.values(image).shape[-2:]) for image in images)
    series = source.series(cover.__getitem__)
    samples = {image.place: 0 for image in images}
    for each in series:
        samples[each.place] += 1
    return Archive(samples, side, [*_told(images, cover), f"{len(series)} samples: clear dates with enough others"])


def _told(images: Sequence[SceneImage], cover: dict[SceneImage, float]) -> list[str]:
    """Return sentences about places and their clouds."""
    places: dict[str, list[SceneImage]] = {}
    for image in images:
        places.setdefault(image.place, []).append(image)
    masked = sum(image.mask is not None for image in images)
    clouds = "masks" if masked == len(images) else f"masks of {masked} of {len(images)} dates" if masked else "colours"
    lines = [f"{len(places)} places, {len(images)} dates, clouds told by {clouds}"]
    for name, dates in list(places.items())[:LISTED]:
        shares = np.array([cover[image] for image in dates])
        lines.append(
            f"{name}: {len(dates)} dates, {dates[0].day:%Y-%m-%d} to {dates[-1].day:%Y-%m-%d}, "
            f"cloud {shares.min():.0%} to {shares.max():.0%}"
        )
    return lines + ([f"and {len(places) - LISTED} more"] if len(places) > LISTED else [])
