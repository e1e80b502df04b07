"""`foveal cloudremoval composite`: a clear image out of several dates without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def composite(
    output: Path,
    input: list[Path],
    method: Literal["median", "least-cloudy"] = "median",
    masks: Path | None = None,
    most_cloud: float = 0.95,
    bands: list[str] | None = None,
    quantification: float | None = None,
    offset: float | None = None,
    warp: bool = False,
    cog: bool = True,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Make one image of a place out of any number of dates, without a network.

    Takes a folder of GeoTIFFs with dates in their names or tags, and writes a GeoTIFF with the CRS, transform, number
    type, nodata and band descriptions of the first of them. An interrupted run goes on where it was when the same
    command is given again.

    Args:
        output: The .tif for a single place, else a folder; it also gets a manifest of the run.
        input: A folder of dated GeoTIFFs of one place, or with a folder "image" of them and maybe one "cloud_mask"; or
            folders of such folders.
        method: The median of the dates on which a pixel is clear, of all where it is clear on none; or the date with
            the least cloud as it is, filled by the median where it has no data.
        masks: Folder of cloud masks by name or date, or of such folders by place; 1 or 255 is cloud. Clouds are told
            by their colours if there are none.
        most_cloud: Share of cloud, 0 to 1, that one date at least must not exceed.
        bands: Names or numbers of the bands to take; without masks red, green, blue and near infrared in this order,
            which are told by their names if not given.
        quantification: Reflectance is (number + offset) / quantification; told by the files if not given.
        offset: That offset; told by the files if not given, -1000 for Sentinel-2 from baseline 04.00 on, 0 before.
        warp: Bring dates of another grid onto that of the first.
        cog: Write cloud-optimised files with overviews.
        overwrite: Replace outputs that exist already.
        quiet: Report nothing but errors.

    Raises:
        UserError: an option or an input does not fit.

    Example:
        foveal cloudremoval composite --input dates --output clear.tif
    """
    from ... import __version__
    from ...core.inference.batch import manifest_of, run_batch
    from ...data.io.geotiff import SUFFIXES
    from .compositing import Compositing
    from .places import Reading, pair_places
    from .selection import check_share

    check_share(most_cloud)
    compositing = Compositing(method, Reading(masks, bands, quantification, offset, warp), most_cloud, cog)
    items = pair_places(input, output, masks)
    run_batch(
        items,
        compositing,
        {"version": __version__, **compositing.facts},
        overwrite,
        quiet,
        manifest_of(output, SUFFIXES),
    )
