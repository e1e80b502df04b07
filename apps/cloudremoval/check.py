"""Check places before training or inference."""

from __future__ import annotations

from functools import partial
from pathlib import Path


def check(
    input: Path,
    masks: Path | None = None,
    dates: int = 3,
    most_cloud: float = 0.95,
    bands: list[str] | None = None,
    quantification: float | None = None,
    offset: float | None = None,
    warp: bool = False,
    json: Path | None = None,
) -> int:
    """Look at dated GeoTIFFs of places; tell which cannot be used for cloud removal, and why.

    Of each place: dates and the longest gap between them, cloud cover of each, coordinate system, pixels, bands, and
    how stored numbers become reflectance; dates that are there twice, on another grid, damaged, or of which bands or
    units are not known; places with too few dates or too much cloud.

    Args:
        input: A folder of dated GeoTIFFs of one place, or with a folder "image" of them and maybe one "cloud_mask"; or
            a folder of such folders.
        masks: Folder of cloud masks by name or date, or of such folders by place; 1 or 255 is cloud. Clouds are told
            by their colours if there are none.
        dates: As many as the network takes at once.
        most_cloud: Share of cloud, 0 to 1, that one date at least must not exceed.
        bands: Names or numbers of red, green, blue and near infrared; told by their names if not given.
        quantification: Reflectance is (number + offset) / quantification; told by the files if not given.
        offset: That offset; told by the files if not given, -1000 for Sentinel-2 from baseline 04.00 on, 0 before.
        warp: Take dates of another grid than the first, as `infer --warp` does.
        json: File for the report with everything about each date.

    Returns:
        The exit code: 1 where a date or a place cannot be used.

    Raises:
        UserError: there is no place, or the share of cloud is none.

    Example:
        foveal cloudremoval check --input places --json report.json
    """
    from ...data.check import check_and_print
    from .place_checks import check_places
    from .places import Reading, find_places
    from .selection import check_share

    check_share(most_cloud)
    reading = Reading(masks, bands, quantification, offset, warp)
    places = find_places(input, masks)
    look = partial(check_places, places=places, reading=reading, wanted=dates, most_cloud=most_cloud)
    return check_and_print(input, json=json, kinds=("geotiff",), look=look)
