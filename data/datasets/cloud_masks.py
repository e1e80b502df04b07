"""Cloud masks that somebody else made: which raster belongs to which image, and where it has cloud."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from ...core.errors import UserError
from ..io.geotiff.dates import in_order
from ..io.geotiff.raster import Raster, Window

CLOUD = (1, 255)


def masks_of(images: Sequence[Path], dates: Sequence[datetime], masks: Sequence[Path]) -> list[Path]:
    """Return the mask of each image: that of its name, or else the only one of its time, or else of its day.

    Masks of other dates are let be.

    Args:
        images: the images of a place.
        dates: when each was taken; () where that is not known.
        masks: the files among which to look.

    Raises:
        UserError: an image has no mask or several, or a file is no raster.
    """
    is_named = {image.stem for image in images} <= {mask.stem for mask in masks}
    times = [None] * len(masks) if is_named or not dates else _times(masks)
    found = []
    for image, date in zip(images, dates or [None] * len(images), strict=True):
        own = [mask for mask in masks if mask.stem == image.stem]
        if not own and date:
            of_day = [(mask, time) for mask, time in zip(masks, times, strict=True) if _is_on(time, date)]
            own = [mask for mask, time in of_day if time == date] or [mask for mask, _ in of_day]
        if len(own) != 1:
            what = "no mask" if not own else f"{len(own)} masks ({', '.join(mask.name for mask in own)})"
            raise UserError(
                f"{masks[0].parent}: has {what} for {image.name}; give every image one of the same name or date, "
                "or give none at all."
            )
        found += own
    return found


def clouds_in(mask: Raster, window: Window) -> np.ndarray:
    """Return where a mask has cloud, or does not tell, bool (h, w).

    Its first band is 1 or 255 where there is cloud and 0 where there is none. What is declared as no data counts as
    cloud, but for a 0.

    Raises:
        UserError: the file is damaged there, or holds other numbers, such as those of classes.
    """
    values, valid = mask.values(window)
    is_cloud = np.isin(values[0], CLOUD)
    strange = values[0][~is_cloud & (values[0] != 0)]
    if strange.size:
        raise UserError(
            f"{mask.path}: holds {strange[0]:g}; a mask has 1 or 255 where there is cloud, and else 0. Make one of its "
            "classes."
        )
    return is_cloud if valid is None or mask.nodata == 0 else is_cloud | ~valid[0]


def _is_on(time: datetime | None, date: datetime) -> bool:
    return time is not None and time.date() == date.date()


def _times(files: Sequence[Path]) -> list[datetime | None]:
    """Return when each file is of; None where not all tell."""
    tags = []
    for file in files:
        raster = Raster(file, [1])
        tags.append({**raster.acquisition, **raster.tags})
        raster.close()
    order, dates = in_order(files, tags)
    times: list[datetime | None] = [None] * len(files)
    for index, time in zip(order, dates, strict=False):  # no dates where not all tell one
        times[index] = time
    return times
